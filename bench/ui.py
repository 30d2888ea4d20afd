"""Measures the screen on a terminal: exec to first frame, time to quit, and its cost at rest.

Runs `agent-tui examples/native_agent.py --local` several times on a pseudo terminal of 120×40. The first
frame is the first output that contains the header's text.

    python bench/ui.py [--runs 7] [--idle-s 5]
"""

import argparse
import json
import signal
import statistics
import sys
import tempfile
import time
from pathlib import Path

import psutil
from terminal import Terminal

ROOT = Path(__file__).parents[1]
COMMAND = [sys.executable, "-m", "agent_tui", str(ROOT / "examples/native_agent.py"), "--local"]
BARE = [sys.executable, "-c", "from textual.app import App\nclass A(App):\n  TITLE='agent-tui'\nA().run()"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--idle-s", type=float, default=10.0)
    parser.add_argument(
        "--settle-s",
        type=float,
        default=65.0,
        help="wait before measuring at rest: for a minute, times on the screen change each second",
    )
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
        if run:  # the first run fills the caches
            for values, value in ((first, frame), (registered, up), (quits, quit_s), (bare, bare_frame)):
                values.append(value)
    show("exec → first frame", first)
    show("exec → screen mode, bare Textual", bare)
    show("exec → registered shown", registered)
    show("q → ended", quits)
    at_rest("at rest", COMMAND, options.settle_s, options.idle_s)
    at_rest("with 10 idle", [*COMMAND, "--num-idle-processes", "10"], options.settle_s, options.idle_s)
    under_change(options.idle_s)


def show(name: str, values: list[float]) -> None:
    spread = f"{min(values):.3f}–{max(values):.3f}, n={len(values)}"
    print(f"{name:34} {statistics.median(values):.3f} s  ({spread})")


def under_change(seconds: float) -> None:
    """Measure the screen with 50 job processes that change each second, simulated by `screen_load.py`."""
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder) / "result.json"
        command = [
            sys.executable,
            str(ROOT / "bench/screen_load.py"),
            str(result),
            "--seconds",
            f"{seconds:g}",
        ]
        Terminal(command).process.wait(60)
        found = json.loads(result.read_text())
    print(f"{'CPU, 50 processes changing':34} {found['cpu_pct']:.1f} % of a core over {seconds:g} s")
    print(
        f"{'a tick of the screen':34} {found['median_ms']:.1f} ms, p95 {found['p95_ms']:.1f}, "
        f"max {found['max_ms']:.1f} (n={found['ticks']})"
    )


def at_rest(what: str, command: list[str], settle: float, seconds: float) -> None:
    """Measure CPU and memory of the host process while nothing happens."""
    terminal = Terminal(command)
    terminal.until(b"AW_")
    host = psutil.Process(terminal.process.pid)
    time.sleep(settle)
    host.cpu_percent()
    time.sleep(seconds)
    print(f"{f'CPU {what}':34} {host.cpu_percent():.1f} % of a core over {seconds:g} s")
    print(f"{'memory of the host (RSS)':34} {host.memory_info().rss / 2**20:.0f} MB")
    terminal.press(b"q")
    terminal.process.wait()


if __name__ == "__main__":
    main()
