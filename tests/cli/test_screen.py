"""The screen on a terminal: however it ends, the terminal is restored and no process is left."""

import asyncio
import fcntl
import os
import pty
import signal
import socket
import struct
import subprocess
import sys
import termios
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.cli.support import ENVIRON, EXAMPLES, ROOT, left_at_most
from tests.runtimes.support import poll

pytestmark = pytest.mark.real

CRASH = """
import sys
from agent_tui.tui.widgets.processes import Processes
show = Processes.show
def broken(self, state, now):
    show(self, state, now)
    if state.worker.worker_id:
        raise RuntimeError("a widget broke")
Processes.show = broken
from agent_tui.cli.main import main
main(sys.argv[1:])
"""
FAULT = """
import sys
from agent_tui.jobs.manager import JobManager
async def broken(self, reason):
    raise RuntimeError("a part broke")
JobManager.close = broken
from agent_tui.cli.main import main
main(sys.argv[1:])
"""
HANGS = """
import asyncio, os, sys
from pathlib import Path
from agent_tui.jobs.manager import JobManager
from agent_tui.processes.pool import Pool
kill = Pool.kill
def killed(self, reason):
    kill(self, reason)
    Path(os.environ["STEPS"], "killed").touch()
async def hangs(self, reason):
    Path(os.environ["STEPS"], "stopping").touch()
    await asyncio.Event().wait()
JobManager.close, Pool.kill = hangs, killed
from agent_tui.cli.main import main
main(sys.argv[1:])
"""


def _take_terminal() -> None:
    """Make the terminal the controlling one of the child's session."""
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


class Terminal:
    """A command on its own pseudo terminal."""

    def __init__(
        self, command: list[str], size: tuple[int, int], controlling: bool, environ: Mapping[str, str]
    ) -> None:
        self.mark = f"agent-tui-test-{uuid.uuid4()}"
        self.host, self.client = pty.openpty()
        fcntl.ioctl(self.client, termios.TIOCSWINSZ, struct.pack("HHHH", size[1], size[0], 0, 0))
        os.set_blocking(self.host, False)
        self.before = termios.tcgetattr(self.client)
        self.process = subprocess.Popen(
            command,
            stdin=self.client,
            stdout=self.client,
            stderr=self.client,
            cwd=ROOT,
            start_new_session=True,
            preexec_fn=_take_terminal if controlling else None,
            env={
                **ENVIRON,
                "TERM": "xterm-256color",
                "TEST_MARK": self.mark,
                **environ,
            },
        )
        self.output = b""

    def shows(self, text: bytes) -> bool:
        with suppress(OSError):  # no more output yet, or the process has ended
            while data := os.read(self.host, 1 << 20):
                self.output += data
        return text in self.output

    def press(self, keys: bytes) -> None:
        os.write(self.host, keys)

    def close(self) -> None:
        """Close the terminal, as closing its window does. May be called twice."""
        host, self.host = self.host, -1
        if host >= 0:
            os.close(host)

    def ended(self) -> bool:
        self.shows(b"")
        return self.process.poll() is not None


@contextmanager
def terminal(
    *arguments: str,
    size: tuple[int, int] = (120, 40),
    program: str = "",
    controlling: bool = False,
    redirect: str = "",
    environ: Mapping[str, str] | None = None,
) -> Iterator[Terminal]:
    """Run a command on a terminal; `redirect` is a shell's redirection."""
    start = ["-c", program] if program else ["-m", "agent_tui"]
    shell = ["sh", "-c", f'exec "$@" {redirect}', "sh"] if redirect else []
    running = Terminal([*shell, sys.executable, *start, *arguments], size, controlling, environ or {})
    try:
        yield running
    finally:
        if running.process.poll() is None:
            os.killpg(running.process.pid, signal.SIGKILL)
            running.process.wait()
        running.close()
        os.close(running.client)


async def assert_clean(running: Terminal) -> None:
    assert termios.tcgetattr(running.client) == running.before
    # The last sequences turn the alternate screen and the mouse off.
    for mode in (b"?1049", b"?1000", b"?1003"):
        assert running.output.rfind(b"\x1b[" + mode + b"l") >= running.output.rfind(b"\x1b[" + mode + b"h")
    await left_at_most(0, running.mark)


ARGUMENTS = (str(EXAMPLES / "native_agent.py"), "--local")


@pytest.mark.parametrize("size", [(120, 40), (80, 24)])
async def test_dispatch_then_change_the_idle_count_then_quit(size: tuple[int, int]) -> None:
    with terminal(*ARGUMENTS, size=size) as running:
        # A narrow header has no room for the worker's id; the table appears once jobs are accepted.
        await poll(lambda: running.shows(b"AW_" if size[0] >= 120 else "● registered".encode()))
        await poll(lambda: running.shows("○ idle".encode()))
        running.press(b"d")
        await poll(lambda: running.shows(b"test-"))
        await poll(lambda: running.shows(b"Hello"))
        running.press(b"+")
        if size[0] >= 120:  # a narrow header repaints the one figure that changed
            await poll(lambda: running.shows(b"2/2"))
        await poll(lambda: running.shows(b"goodbye"))
        await asyncio.sleep(0.3)
        running.press(b"q")
        await poll(running.ended)
        assert running.process.returncode == 0
        await assert_clean(running)


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129), (signal.SIGINT, 130)]
)
async def test_a_signal_restores_the_terminal(number: signal.Signals, code: int) -> None:
    with terminal(*ARGUMENTS) as running:
        await poll(lambda: running.shows(b"AW_"))
        running.process.send_signal(number)
        await poll(running.ended)
        assert running.process.returncode == code
        await assert_clean(running)


@pytest.mark.parametrize("stop", [signal.SIGSTOP, signal.SIGTSTP])
async def test_after_sigcont_the_whole_screen_is_drawn_and_the_end_restores_the_terminal(
    stop: signal.Signals,
) -> None:
    with terminal(*ARGUMENTS) as running:
        await poll(lambda: running.shows("○ idle".encode()))
        await asyncio.sleep(1.5)  # nothing changes any more, which could draw everything
        running.process.send_signal(stop)
        state = Path(f"/proc/{running.process.pid}/stat")
        await poll(
            lambda: not running.shows(b"\0") and state.read_text().rpartition(")")[2].split()[0] == "T"
        )
        termios.tcsetattr(running.client, termios.TCSANOW, running.before)  # as a shell does
        seen = len(running.output)
        running.process.send_signal(signal.SIGCONT)
        drawn = b" 1 Processes "  # a border, which no change of the state draws
        await poll(lambda: running.shows(drawn) and drawn in running.output[seen:].partition(b"?1049h")[2])
        running.press(b"q")
        await poll(running.ended)
        assert running.process.returncode == 0
        await assert_clean(running)


async def test_timeout_sends_sigcont_after_sigterm_and_the_terminal_is_restored() -> None:
    with terminal(*ARGUMENTS) as running:
        await poll(lambda: running.shows(b"AW_"))
        for number in (signal.SIGTERM, signal.SIGCONT, signal.SIGCONT):
            running.process.send_signal(number)
        await poll(running.ended)
        assert running.process.returncode == 143
        await assert_clean(running)


@pytest.mark.parametrize("controlling", [True, False])
async def test_closing_the_terminal_ends_everything(controlling: bool) -> None:
    with terminal(*ARGUMENTS, "--dispatch", "1", controlling=controlling) as running:
        await poll(lambda: running.shows(b"Hello"))
        running.close()
        await poll(lambda: running.process.poll() is not None)
        assert running.process.returncode in (129, -signal.SIGHUP)
        await left_at_most(0, running.mark)


async def test_an_exception_inside_a_widget_ends_the_engine_too() -> None:
    with terminal(*ARGUMENTS, program=CRASH) as running:
        await poll(lambda: running.shows(b"a widget broke"))
        await poll(running.ended)
        assert running.process.returncode == 1
        await assert_clean(running)


async def test_a_part_of_the_engine_that_fails_at_the_end_is_reported_and_delays_nothing() -> None:
    with terminal(*ARGUMENTS, program=FAULT) as running:
        await poll(lambda: running.shows(b"AW_"))
        running.press(b"q")
        await poll(running.ended)
        assert running.shows(b"agent-tui: internal error (job_manager): RuntimeError: a part broke")
        assert running.process.returncode == 1
        await assert_clean(running)


@pytest.mark.parametrize("last", ["q", "signal"])
async def test_a_third_signal_exits_at_once_and_restores_the_terminal(last: str, tmp_path: Path) -> None:
    with terminal(*ARGUMENTS, program=HANGS, environ={"STEPS": str(tmp_path)}) as running:
        await poll(lambda: running.shows(b"AW_"))
        for step in ("stopping", "killed"):
            running.press(b"q")
            await poll((tmp_path / step).exists)
        assert running.process.poll() is None
        if last == "q":
            running.press(b"q")
        else:
            for _ in range(3):
                running.process.send_signal(signal.SIGTERM)
                await asyncio.sleep(0.2)  # pending signals of one kind are merged
        await poll(running.ended)
        assert running.process.returncode == (1 if last == "q" else 143)
        await assert_clean(running)


async def test_a_busy_port_ends_the_screen_with_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with terminal(*ARGUMENTS, "--port", str(port)) as running:
            await poll(running.ended)
            assert running.shows(f"127.0.0.1:{port} is in use".encode())
            assert running.process.returncode == 2
            await assert_clean(running)


async def test_an_unreachable_server_is_shown_with_what_to_do() -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    environ = {
        "LIVEKIT_URL": f"ws://127.0.0.1:{port}",
        "LIVEKIT_API_KEY": "APIkey",
        "LIVEKIT_API_SECRET": "a-secret-that-is-long-enough-to-be-one",
    }
    with terminal(str(EXAMPLES / "native_agent.py"), environ=environ) as running:
        await poll(lambda: running.shows(f"nothing is listening on 127.0.0.1:{port}".encode()))
        await poll(lambda: running.shows(b"start the server, or check LIVEKIT_URL in the environment"))
        running.press(b"q")
        await poll(running.ended)
        assert running.process.returncode == 0
        await assert_clean(running)


EDITOR = """#!/bin/sh
trap '' INT
echo EDITOR-OPEN
echo 'open("{mark}", "w").close()' >> "$2"
for _ in $(seq 300); do
    [ -e {mark} ] && echo RELOADED && exit
    sleep 0.1
done
"""


async def test_agent_tui_keeps_running_behind_an_editor_and_without_one_that_starts(tmp_path: Path) -> None:
    agent = tmp_path / "agent.py"
    agent.write_text((EXAMPLES / "native_agent.py").read_text())
    editor = tmp_path / "editor"
    with terminal(str(agent), "--local", environ={"EDITOR": str(editor)}, controlling=True) as running:
        await poll(lambda: running.shows(b"AW_"))
        running.press(b"e")
        await poll(lambda: running.shows(b"failed to start"))
        editor.write_text(EDITOR.format(mark=tmp_path / "loaded"))
        editor.chmod(0o755)
        running.press(b"e")
        await poll(lambda: running.shows(b"EDITOR-OPEN"))
        before = len(running.output)
        running.press(b"\x03")  # for the editor
        await poll(lambda: running.shows(b"RELOADED"))
        assert b"\x1b" not in running.output[before:].partition(b"RELOADED")[0]  # nothing is drawn over it
        await poll(lambda: not running.shows(b"\0") and b"?1049h" in running.output[before:])
        running.press(b"q")
        await poll(running.ended)
        assert running.process.returncode == 0
        await assert_clean(running)


async def test_a_terminal_that_stops_reading_does_not_delay_the_end() -> None:
    with terminal(*ARGUMENTS) as running:
        await poll(lambda: running.shows(b"AW_"))
        for number in range(20):  # each is a whole frame: more than the terminal holds unread
            size = struct.pack("HHHH", 40, 120 + number % 2, 0, 0)
            fcntl.ioctl(running.client, termios.TIOCSWINSZ, size)
            running.process.send_signal(signal.SIGWINCH)
            await asyncio.sleep(0.1)
        running.process.send_signal(signal.SIGTERM)
        await poll(lambda: running.process.poll() is not None)
        assert running.process.returncode == 143
        assert termios.tcgetattr(running.client) == running.before
        await left_at_most(0, running.mark)
