"""A sink that keeps lines, children that are always ended, and messages with them."""

import asyncio
import os
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any, TypeVar

from livekit.protocol.agent import Job

from agent_tui.model.child import (
    AcceptArguments,
    BaseReport,
    Child,
    ChildExit,
    DumpStacks,
    Failed,
    FromChild,
    Manifest,
    ProcessKind,
    Ready,
    Stacks,
    StartJob,
)
from agent_tui.model.clock import SystemClock
from agent_tui.model.events import StartMethod
from agent_tui.model.logs import LogLevel, LogSource, ParseLine
from agent_tui.processes.stacks import place
from agent_tui.runtimes.forks import ForkServer
from agent_tui.runtimes.kinds import KINDS, LIVEKIT_AGENTS
from agent_tui.runtimes.orphans import become_subreaper
from agent_tui.runtimes.python import PythonRuntime
from tests.limits import PATIENCE_S

AGENTS = Path(__file__).resolve().parent.parent / "agents"
M = TypeVar("M")

_method: ContextVar[StartMethod] = ContextVar("start method", default=StartMethod.SPAWN)
_base: ContextVar[ForkServer | None] = ContextVar("base", default=None)


@contextmanager
def started_by(method: StartMethod, base: ForkServer | None = None) -> Iterator[None]:
    """Make `launch` start children with that method: forks of `base`, or of another one for each of them."""
    become_subreaper()
    tokens = _method.set(method), _base.set(base)
    yield
    _method.reset(tokens[0])
    _base.reset(tokens[1])


class Sink:
    """A `LogSink` that keeps everything."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, str]] = []
        self.records: list[tuple[LogLevel, str, dict[str, object]]] = []
        self._threads: list[threading.Thread] = []

    def attach(self, fd: int, source: LogSource, parse: ParseLine | None = None) -> None:
        thread = threading.Thread(target=self._read, args=(fd, source, parse), daemon=True)
        if source.process_id[0] not in "bt":
            self._threads.append(thread)
        thread.start()

    def _read(self, fd: int, source: LogSource, parse: ParseLine | None) -> None:
        with os.fdopen(fd, "rb") as pipe:
            for line in pipe:
                text = line.decode("utf-8", "replace").rstrip("\n")
                if parse and (record := parse(text)):
                    self.write(source, record.level, record.text, logger=record.logger, fields=record.fields)
                else:
                    self.lines.append((source.stream.value, text))

    def write(
        self,
        source: LogSource,
        level: LogLevel,
        text: str,
        *,
        ts: float | None = None,
        logger: str = "",
        fields: dict[str, object] | None = None,
    ) -> None:
        self.records.append(
            (level, text, {**(fields or {}), "_logger": logger, "_stream": source.stream.value})
        )

    def join(self) -> None:
        """Wait until the pipes have ended, except those of bases and templates."""
        for thread in self._threads:
            thread.join(PATIENCE_S)
            assert not thread.is_alive(), "a pipe is still open"

    def printed(self, stream: str = "stdout") -> list[str]:
        return [line for each, line in self.lines if each == stream]

    def logged(self, part: str) -> list[tuple[LogLevel, str, dict[str, object]]]:
        return [record for record in self.records if part in record[1]]


def clean_environ(**more: str) -> dict[str, str]:
    """Return what a user's shell has, and nothing of this machine."""
    return {"PATH": "/usr/bin:/bin", "HOME": "/tmp", "LANG": "C.UTF-8", **more}


def runtime(
    file: Path, sink: Sink, name: str = "native", python: Path | None = None, **environ: str
) -> PythonRuntime:
    """Return a runtime for that agent file, on this Python unless another is given."""
    interpreter = python or Path(sys.executable)
    return PythonRuntime(name, interpreter, file, file.parent, clean_environ(**environ), sink, SystemClock())


def make_job(room: str = "room", job_id: str = "AJ_1") -> bytes:
    """Return a serialized job."""
    job = Job(id=job_id, agent_name="registered")
    job.room.name = room
    job.attributes["colour"] = "red"
    return job.SerializeToString()


def start_job(room: str = "room", **changes: Any) -> StartJob:
    """Return the message that runs a job."""
    now = time.time()
    values: dict[str, Any] = {
        "job": make_job(room),
        "accept": AcceptArguments("ann", attributes={"a": "b"}),
        "url": "ws://127.0.0.1:1",
        "token": "token",
        "worker_id": "AW_1",
        "fake_job": True,
        "received_at": now,
        "accepted_at": now,
        "assigned_at": now,
        "launched_at": now,
    }
    return StartJob(**(values | changes))


async def until(child: Child, *kinds: type[M]) -> M:
    """Return the next message of one of these kinds; skip others."""
    async with asyncio.timeout(PATIENCE_S):
        while (message := await child.receive()) is not None:
            if isinstance(message, kinds):
                return message
        exit = await child.wait()
    raise AssertionError(f"the channel ended before {kinds}: {exit}")


async def rest(child: Child) -> list[FromChild]:
    """Return all messages up to the end of the channel."""
    messages: list[FromChild] = []
    async with asyncio.timeout(PATIENCE_S):
        while (message := await child.receive()) is not None:
            messages.append(message)
    return messages


async def loaded(child: Child) -> Manifest | Failed:
    """Return the result of a control process."""
    return await until(child, Manifest, Failed)


async def stacks_of(child: Child, at: str) -> str:
    """Return the stacks of a child once its main thread is there, such as `agent.mjs:4 in spin`."""
    text = ""
    async with asyncio.timeout(PATIENCE_S):
        while place(text) != at:
            child.send(DumpStacks())
            text = (await until(child, Stacks)).text
    return text


async def ended(child: Child) -> ChildExit:
    """Return how the process ended, within the limit."""
    async with asyncio.timeout(PATIENCE_S):
        return await child.wait()


async def poll(condition: Callable[[], object], limit_s: float = PATIENCE_S) -> None:
    """Wait until something real has happened."""
    deadline = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        await asyncio.sleep(0.01)


def alive(pid: int) -> bool:
    """Return True while a process with that number runs (not for a zombie)."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def open_fds() -> set[str]:
    """Return the descriptors of this process that are sockets, pipes, or pidfds."""
    found = set()
    for each in Path("/proc/self/fd").iterdir():
        try:
            target = str(each.readlink())
        except OSError:
            continue
        if target.startswith(("socket:", "pipe:", "anon_inode:[pidfd]")):
            found.add(f"{each.name} {target}")
    return found


@asynccontextmanager
async def nothing_left() -> AsyncIterator[list[Child]]:
    """Yield a list; its children are ended and reaped, and then no descriptor, task, or process may be
    left.
    """
    fds, tasks = open_fds(), asyncio.all_tasks()
    children: list[Child] = []
    try:
        yield children
    finally:
        for child in children:
            child.kill()
            await ended(child)
    await asyncio.sleep(0)
    assert not [child.pid for child in children if alive(child.pid)]
    await poll(lambda: not open_fds() - fds, 5)
    assert asyncio.all_tasks() <= tasks


async def launch(
    run: PythonRuntime, children: list[Child], kind: ProcessKind, process_id: str = "p1", functions: str = ""
) -> Child:
    """Start a child with the test's start method; it and those it was forked from go on the list."""
    parents = await parents_of(run, children, kind)
    child = await run.launch(kind, process_id, functions, parents)
    children.append(child)
    return child


async def parents_of(run: PythonRuntime, children: list[Child], kind: ProcessKind) -> list[Child]:
    if _method.get() is StartMethod.SPAWN:
        return []
    base = _base.get()
    if base is None:
        base = await launch_base(run)
        children.append(base)
    if _method.get() is StartMethod.FORK or kind is not ProcessKind.JOB:
        return [base]
    template = await run.launch(ProcessKind.TEMPLATE, "t1", "", [base])
    children.append(template)
    loaded = await until(template, Ready, Failed)
    return [template, base] if isinstance(loaded, Ready) else [base]


async def launch_base(run: PythonRuntime) -> ForkServer:
    """Return a base that is ready to fork."""
    base = await run.launch_base("b1", KINDS[run.name].sdk_modules)
    report = await until(base, BaseReport)
    assert report.unsafe == ""
    await until(base, Ready)
    return base


class SharedBases:
    """The bases of SDKs that the tests of a module fork from: importing one costs seconds of CPU."""

    def __init__(self) -> None:
        self._bases: dict[Path, ForkServer] = {}

    async def get(self, python: Path) -> ForkServer:
        """Return the base on that Python; it serves all files."""
        if python not in self._bases:
            become_subreaper()
            run = runtime(AGENTS / "sdk_waits.py", Sink(), LIVEKIT_AGENTS, python)
            self._bases[python] = await launch_base(run)
        return self._bases[python]

    async def close(self) -> None:
        for base in self._bases.values():
            base.kill()
            await ended(base)


@asynccontextmanager
async def launched(
    run: PythonRuntime, kind: ProcessKind = ProcessKind.JOB, functions: str = ""
) -> AsyncIterator[Child]:
    """Start one child that is always ended."""
    async with nothing_left() as children:
        yield await launch(run, children, kind, "p1", functions)


@asynccontextmanager
async def ready(run: PythonRuntime, functions: str = "") -> AsyncIterator[Child]:
    """Start one warm job process."""
    async with launched(run, ProcessKind.JOB, functions) as child:
        await until(child, Ready)
        yield child
