"""The screen on a real terminal: exec to first frame, time to quit, and what it costs at rest.

Runs `agent-tui examples/native_agent.py --local` on a pseudo terminal of 120×40, several times. The first
frame is the first full picture that the terminal gets: the header's text is in it.

    python bench/ui.py [--runs 7] [--idle-s 5]
"""

import argparse
import fcntl
import os
import pty
import signal
import statistics
import struct
import subprocess
import sys
import termios
import threading
import time
from pathlib import Path

import psutil

ROOT = Path(__file__).parents[1]
COMMAND = [sys.executable, "-m", "agent_tui", str(ROOT / "examples/native_agent.py"), "--local"]
BARE = [sys.executable, "-c", "from textual.app import App\nclass A(App):\n  TITLE='agent-tui'\nA().run()"]


class Terminal:
    """A command on a pseudo terminal; remembers when what it wrote first held a text."""

    def __init__(self, command: list[str]) -> None:
        self._host, client = pty.openpty()
        fcntl.ioctl(client, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
        environ = {**os.environ, "TERM": "xterm-256color", "COLORTERM": "truecolor"}
        self.begin = time.perf_counter()
        self.process = subprocess.Popen(
            command, stdin=client, stdout=client, stderr=client, env=environ, start_new_session=True, cwd=ROOT
        )
        os.close(client)
        self._written = bytearray()
        self._news = threading.Condition()
        threading.Thread(target=self._read, daemon=True).start()

    def until(self, text: bytes, limit_s: float = 20.0) -> float:
        """Seconds from exec until the text was written."""
        deadline = time.monotonic() + limit_s
        with self._news:
            while text not in self._written:
                if not self._news.wait(deadline - time.monotonic()):
                    raise SystemExit(
                        f"{text!r} was never shown:\n{self._written[-2000:].decode(errors='replace')}"
                    )
            return time.perf_counter() - self.begin

    def press(self, key: bytes) -> None:
        os.write(self._host, key)

    def _read(self) -> None:
        while True:
            try:
                data = os.read(self._host, 65536)
            except OSError:
                return
            with self._news:
                self._written += data
                self._news.notify_all()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--idle-s", type=float, default=10.0)
    parser.add_argument("--settle-s", type=float, default=65.0, help="seconds count in the first minute only")
    options = parser.parse_args()
    first: list[float] = []
    registered: list[float] = []
    quits: list[float] = []
    bare: list[float] = []
    for run in range(options.runs + 1):
        terminal = Terminal(COMMAND)
        frame = terminal.until(b"agent-tui")
        up = terminal.until(b"AW_")
        time.sleep(0.5)
        begin = time.perf_counter()
        terminal.press(b"q")
        terminal.process.wait()
        quit_s = time.perf_counter() - begin
        plain = Terminal(BARE)
        bare_frame = plain.until(b"\x1b[?1049h")
        plain.process.send_signal(signal.SIGTERM)
        plain.process.wait()
        if run:  # the first fills the caches
            for values, value in ((first, frame), (registered, up), (quits, quit_s), (bare, bare_frame)):
                values.append(value)
    show("exec → first frame", first)
    show("exec → screen mode, bare Textual", bare)
    show("exec → registered shown", registered)
    show("q → ended", quits)
    at_rest(options.settle_s, options.idle_s)


def show(name: str, values: list[float]) -> None:
    spread = f"{min(values):.3f}–{max(values):.3f}, n={len(values)}"
    print(f"{name:34} {statistics.median(values):.3f} s  ({spread})")


def at_rest(settle: float, seconds: float) -> None:
    """CPU and memory of the host process with nothing to do."""
    terminal = Terminal(COMMAND)
    terminal.until(b"AW_")
    host = psutil.Process(terminal.process.pid)
    time.sleep(settle)
    host.cpu_percent()
    time.sleep(seconds)
    print(f"{'CPU at rest':34} {host.cpu_percent():.1f} % of a core over {seconds:g} s")
    print(f"{'memory of the host (RSS)':34} {host.memory_info().rss / 2**20:.0f} MB")
    terminal.press(b"q")
    terminal.process.wait()


if __name__ == "__main__":
    main()
