"""What a killed host leaves behind is killed, whatever it does."""

import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from agent_tui.model.events import StartMethod
from agent_tui.runtimes import orphans
from agent_tui.runtimes.kinds import KINDS, NATIVE
from agent_tui.runtimes.spawn import Command, adopt, start, system_pidfd_open

from ..sdks import sdk_in_turn
from .support import Sink, alive, open_fds, poll

pytestmark = [pytest.mark.real, pytest.mark.skipif(sys.platform != "linux", reason="Linux has pidfds")]

JOBS = ("spins", "holds the lock", "ignores signals", "has a child", "is stopped")

HOST = """
import asyncio, sys
sys.path.insert(0, sys.argv[1])
from tests.runtimes.support import *
from agent_tui.model.child import EntryStarted
from agent_tui.runtimes import orphans
orphans.GRACE_S = float(sys.argv[3])
async def main():
    sink, children = Sink(), []
    run = runtime(AGENTS / "native_orphans.py", sink)
    await loaded(await launch(run, children, ProcessKind.CONTROL, "c1"))
    for room in sys.argv[4:]:
        child = await launch(run, children, ProcessKind.JOB, f"p{room}")
        await until(child, Ready)
        before = len(sink.printed())
        child.send(start_job(room))
        await poll(lambda: len(sink.printed()) > before + (room == "has a child"))
    descendants = [int(line.split()[1]) for line in sink.printed() if line.startswith("child")]
    print(*(child.pid for child in children), *descendants, orphans.GUARD.pid or 0, flush=True)
    await asyncio.sleep(600)
with started_by(StartMethod(sys.argv[2])):
    asyncio.run(main())
"""


SDK_HOST = """
import asyncio, sys
sys.path.insert(0, sys.argv[1])
from tests.runtimes.support import *
from agent_tui.runtimes import orphans
orphans.GRACE_S = 0.3
async def main():
    children = []
    run = runtime(AGENTS / "sdk_runner.py", Sink(), "livekit-agents", Path(sys.argv[2]))
    manifest = await loaded(await launch(run, children, ProcessKind.CONTROL, "c1"))
    for kind in (ProcessKind.INFERENCE, ProcessKind.JOB):
        child = await run.launch(kind, str(kind), manifest.functions, [children[0]])
        children.append(child)
        await until(child, Ready)
    print(*(child.pid for child in children), orphans.GUARD.pid or 0, flush=True)
    await asyncio.sleep(600)
with started_by(StartMethod.FORK):
    asyncio.run(main())
"""


@sdk_in_turn()
def test_the_processes_of_an_sdk_are_killed_as_well(sdk_python: Path) -> None:
    root = str(Path(__file__).resolve().parents[2])
    command = [sys.executable, "-c", SDK_HOST, root, str(sdk_python)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        pids = [int(word) for word in running.stdout.readline().split()]
        try:
            assert len(pids) == 5  # base, control, inference, job, guard
            for pid in pids[:-1]:
                os.kill(pid, signal.SIGSTOP)
        finally:
            running.kill()
    assert wait_until_gone(pids, 20) == []


def host(method: StartMethod, grace_s: float, *jobs: str) -> "subprocess.Popen[str]":
    root = str(Path(__file__).resolve().parents[2])
    command = [sys.executable, "-c", HOST, root, str(method), str(grace_s), *jobs]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def wait_until_gone(pids: list[int], limit_s: float) -> list[int]:
    deadline = time.monotonic() + limit_s
    while (left := [pid for pid in pids if alive(pid)]) and time.monotonic() < deadline:
        time.sleep(0.02)
    return left


@pytest.mark.parametrize("method", KINDS[NATIVE].starts)
def test_no_process_outlives_a_killed_host_whatever_it_does(method: StartMethod) -> None:
    with host(method, 0.3, *JOBS) as running:
        assert running.stdout is not None
        pids = [int(word) for word in running.stdout.readline().split()]
        try:
            assert len(pids) > len(JOBS) + 2
            *children, guard = pids
            assert all(alive(pid) for pid in pids)
            for pid in children:
                os.kill(pid, signal.SIGSTOP)  # bases, templates, and the control process too
        finally:
            running.kill()
    assert wait_until_gone(pids, 20) == []
    assert guard not in children


def test_a_killed_guard_is_replaced_and_takes_over_what_runs() -> None:
    with host(StartMethod.FORK, 0.3, "is stopped") as running:
        assert running.stdout is not None
        *children, guard = [int(word) for word in running.stdout.readline().split()]
        try:
            time.sleep(orphans.SHORT_LIFE_S)
            os.kill(guard, signal.SIGKILL)
            assert wait_until_gone([guard], 10) == []
            replacement = guard_of(running.pid, 10)
            for pid in children:
                os.kill(pid, signal.SIGSTOP)
        finally:
            running.kill()
    assert wait_until_gone([*children, replacement], 20) == []


def guard_of(pid: int, limit_s: float) -> int:
    """Return the guard among a process's children, once it exists."""
    deadline = time.monotonic() + limit_s
    while time.monotonic() < deadline:
        for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            with contextlib.suppress(OSError):  # it has just ended
                if b"orphans.py" in Path(f"/proc/{child}/cmdline").read_bytes():
                    return int(child)
        time.sleep(0.02)
    raise AssertionError("no guard came")


def test_a_stopped_host_is_not_dead() -> None:
    with host(StartMethod.SPAWN, 0.0, "is stopped") as running:
        assert running.stdout is not None
        pids = [int(word) for word in running.stdout.readline().split()]
        try:
            os.kill(running.pid, signal.SIGSTOP)
            for pid in pids[:-1]:
                os.kill(pid, signal.SIGSTOP)
            assert wait_until_gone(pids, 0.5) == pids
        finally:
            running.kill()
    assert wait_until_gone(pids, 20) == []


async def test_the_guard_lives_as_long_as_there_is_a_process_to_watch(tmp_path: Path) -> None:
    before = open_fds()
    command = Command([sys.executable, "-c", "input()"], tmp_path, dict(os.environ))
    forever = Command([sys.executable, "-c", "import time; time.sleep(600)"], tmp_path, dict(os.environ))
    first = adopt(start(forever), "p1", Sink(), system_pidfd_open())
    guard = orphans.GUARD.pid
    second = adopt(start(command), "p2", Sink(), system_pidfd_open())
    assert guard is not None
    assert orphans.GUARD.pid == guard
    await second.wait()
    assert orphans.GUARD.pid == guard
    first.kill()
    await first.wait()
    assert orphans.GUARD.pid is None
    assert not alive(guard)
    first.sock.close()
    second.sock.close()
    await poll(lambda: not open_fds() - before, 5)


async def test_a_guard_knows_what_to_watch_before_it_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    # Otherwise a host that is killed right after it started one would leave a guard without work.
    known: list[int] = []

    def start(command: list[str], **options: object) -> subprocess.Popen[bytes]:
        theirs = socket.socket(fileno=os.dup(int(command[4])))
        with theirs:
            data, pidfds, _, _ = socket.recv_fds(theirs, 4, 1)
        known.append(int.from_bytes(data, sys.byteorder))
        os.close(pidfds[0])
        raise OSError("this guard only looks")

    monkeypatch.setattr("agent_tui.runtimes.orphans.subprocess.Popen", start)
    pidfd = os.pidfd_open(os.getpid())
    orphans.OrphanGuard().watch(os.getpid(), pidfd)
    os.close(pidfd)
    assert known == [os.getpid()]


async def test_a_guard_that_cannot_start_stops_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none_left(*_: object) -> None:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr("agent_tui.runtimes.orphans.socket.socketpair", none_left)
    guard = orphans.OrphanGuard()
    pidfd = os.pidfd_open(os.getpid())
    guard.watch(os.getpid(), pidfd)
    assert guard.pid is None
    guard.forget(os.getpid())
    os.close(pidfd)
    await asyncio.sleep(0)
