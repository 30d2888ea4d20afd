"""One child process: gets its spec from the channel, runs one kind of work, ends when the host does."""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import faulthandler
import gc
import io
import logging
import os
import signal
import socket
import sys
import threading
import time
import traceback
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Callable, NoReturn

from . import debugging, fork_safety, loading, preloading, project_files
from .channel import Channel, Message
from .forking import ForkServer
from .records import RecordHandler
from .snapshots import Snapshot

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import FrameType

HOST_LOST_GRACE_S = 8.0
"""Seconds that a job may take to leave its room after the host has ended. Then its group is killed."""

FLUSH_S = 2.0
HOST_LOST = "agent-tui exited"


@dataclass(frozen=True)
class ProcessSpec:
    """What this process should do: the first message of the host."""

    runtime: str
    kind: str
    process_id: str
    file: str
    folder: str
    """The folder of the file when its generation was loaded, with links resolved."""
    log_level: int
    functions: str
    environ: dict[str, str]
    """The whole environment of the file; it replaces the one that the process was started with."""
    session_end_timeout_ms: int
    request_func: str
    """The name of a function in the file to use in place of the one that its code sets; empty for none."""
    load_func: str
    production: bool
    snapshot: bool
    """Whether a descriptor with the generation's modules came with this message."""


class HostLink:
    """The host as this process sees it: sends and receives messages, and notices when the host has ended."""

    def __init__(self, channel: Channel, spec: ProcessSpec, records: RecordHandler | None = None) -> None:
        """`records` is the log handler that a template has installed, for its fork to use."""
        self.spec = spec
        self.send, self.offer = channel.send, channel.offer
        self.records = records or RecordHandler(spec.log_level)
        self.records.send_to(channel)
        self.loop: asyncio.AbstractEventLoop | None = None
        """The agent's event loop, whose tasks are listed with the stacks."""
        self.debug_port = 0
        """The port on which the job waits for a debugger before its entry function; 0 for none."""
        self.sessions = self.text_only = False
        """Whether the host follows the sessions of the job, and whether they run without audio."""
        self.host_lost = False
        self.on_host_lost: Callable[[], None] = lambda: None
        """Called in the reading thread when the host has ended, after the listener got a `Shutdown`."""
        self._channel = channel
        self._lock = threading.Lock()
        self._early: list[tuple[str, dict[str, Any]]] = []
        self._listener: Message | None = None
        self._debugging = False

    def start(self) -> None:
        self._channel.start(self._receive, self._check_debugger, self._host_ended)

    def listen(self, listener: Message) -> None:
        """Call `listener` with each message, in the reading thread; first with those that came earlier."""
        with self._lock:
            for case, value in self._early:
                listener(case, value)
            self._early.clear()
            self._listener = listener

    def fail(self, error: BaseException) -> None:
        """Report to the host that loading or prewarm failed."""
        self.send("failed", **loading.describe(error, self.spec.file))

    def finish(self) -> None:
        """Write queued messages. If the host has ended, also end the processes that the job started."""
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(Exception):
                stream.flush()
        self._channel.flush(FLUSH_S)
        if self.host_lost:
            _kill_group()

    def _receive(self, case: str, value: dict[str, Any]) -> None:
        if case == "dump_stacks":
            self.send("stacks", text=stacks(self.loop))
            return
        if case == "start_job":
            self.debug_port = value.pop("debug_port")
            self.sessions, self.text_only = value.pop("sessions"), value.pop("text_only")
        with self._lock:
            if self._listener is None:
                self._early.append((case, value))
                return
        try:
            self._listener(case, value)
        except Exception:
            logging.getLogger("agent-tui").exception("failed to handle message %s", case)

    def _check_debugger(self) -> None:
        now = debugging.attached()
        if now != self._debugging:
            self._debugging = now
            self.send("debugging", attached=now)

    def _host_ended(self) -> None:
        self.host_lost = True
        self._receive("shutdown", {"reason": HOST_LOST})
        with contextlib.suppress(RuntimeError):  # the agent's loop has ended already
            self.on_host_lost()
        time.sleep(HOST_LOST_GRACE_S)
        _kill_group()


def _kill_group() -> None:
    """Kill this process and everything it started, if it leads its group."""
    if os.getpgid(0) == os.getpid():
        os.killpg(os.getpid(), signal.SIGKILL)
    os.kill(os.getpid(), signal.SIGKILL)


def stacks(loop: asyncio.AbstractEventLoop | None) -> str:
    """Return the stacks of all threads and of the loop's tasks, newest call last."""
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    out = io.StringIO()
    for ident, frame in sys._current_frames().items():
        name = names.get(ident, str(ident))
        if name.startswith("agent-tui"):
            continue
        out.write(f"Thread {name}:\n{''.join(traceback.format_stack(frame))}\n")
    with contextlib.suppress(Exception):  # the set of tasks may change while it is read
        for task in asyncio.all_tasks(loop) if loop is not None else ():
            awaited = traceback.StackSummary.extract(_awaited_frames(task))
            out.write(f"Task {task.get_name()}:\n{''.join(awaited.format())}\n")
    return out.getvalue()


def _awaited_frames(task: asyncio.Task[Any]) -> Iterator[tuple[FrameType, int]]:
    """Yield the frames from the task's coroutine to the innermost one that it awaits, with their lines.

    `Task.get_stack` returns only the first.
    """
    each: Any = task.get_coro()
    while each is not None:
        frame = next(
            filter(None, (getattr(each, f"{kind}_frame", None) for kind in ("cr", "gi", "ag"))), None
        )
        if frame is not None:
            yield frame, frame.f_lineno
        each = next(
            filter(None, (getattr(each, name, None) for name in ("cr_await", "gi_yieldfrom", "ag_await"))),
            None,
        )


def _set_up_streams() -> None:
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding="utf-8", errors="backslashreplace", line_buffering=True)
    with contextlib.suppress(Exception):
        faulthandler.enable()


def _ignore_signal(signum: int, frame: object) -> None:
    """Ignore a signal: only the host ends children. Unlike SIG_IGN, programs they start do not inherit
    this.
    """


def _work(runtime: str) -> dict[str, Callable[[HostLink], object]]:
    """Return the functions that do the work of a runtime's processes, by kind of process."""
    from . import lk_control, lk_job, native_control, native_job

    kinds: dict[str, dict[str, Callable[[HostLink], object]]] = {
        "native": {
            "control": native_control.run,
            "template": native_job.load,
            "job": native_job.run,
        },
        "livekit-agents": {
            "control": lk_control.run,
            "template": lk_job.load,
            "job": lk_job.run,
            "inference": lk_job.run_inference,
        },
    }
    return kinds[runtime]


def _await_spec(channel: Channel, unsafe: list[str]) -> ProcessSpec:
    """Wait for the spec and return it. Until it comes, import the modules that the host asks for.

    `unsafe` names a module that starts threads which a fork would lose, and whose threads they are.
    """
    while (message := channel.read_message()) is not None:
        case, value = message
        if case == "spec":
            spec = ProcessSpec(**value)
            if spec.kind == "base":
                gc.freeze()  # without a collection, which would delay the start by 50 ms
            gc.enable()
            return spec
        for name in value["modules"]:
            preloading.preload(name)
            threads = "" if unsafe else fork_safety.threads_left()
            if threads:
                unsafe += [name, f"{name} started {threads}"]
    os._exit(0)


def main(fd: int) -> NoReturn:
    """Run this process to its end; a base or template continues in each of its forks."""
    os.set_inheritable(fd, False)
    channel = Channel(socket.socket(fileno=fd))
    records: RecordHandler | None = None
    unsafe: list[str] = []
    while (spec := _await_spec(channel, unsafe)).kind in ("base", "template"):
        if spec.kind == "base":
            _become_base(channel, unsafe)
        else:
            records = _become_template(channel, spec)
        channel = ForkServer(channel).serve()
    link = HostLink(channel, spec, records)
    _set_up(channel, spec, link, loaded=records is not None)
    link.start()
    code = 0
    try:
        _work(link.spec.runtime)[link.spec.kind](link)
    except SystemExit as exit_:
        code = exit_.code if isinstance(exit_.code, int) else 1
    except BaseException as error:
        link.fail(error)
        code = 1
    link.finish()
    _exit(code)


def _set_up(channel: Channel, spec: ProcessSpec, link: HostLink, *, loaded: bool = False) -> None:
    """Set up the process as the agent's file expects; in a template's fork, most of that is done."""
    _set_up_streams()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _ignore_signal)
    fds = channel.take_fds(1) if spec.snapshot else []
    if loaded:
        for fd in fds:
            loading.renew(fd)
        return
    os.environ.clear()
    os.environ.update(spec.environ)
    debugging.install_hook()
    logging.getLogger().setLevel(spec.log_level)
    link.records.install()
    command = "start" if spec.production else "dev"
    loading.prepare(spec.file, spec.folder, Snapshot(fds[0] if fds else None), command)
    if spec.runtime == "native":
        project_files.separate_shadows(project_files.project_roots())


def _become_base(channel: Channel, unsafe: list[str]) -> None:
    channel.send("loading")
    module, why = unsafe or ("", fork_safety.native_runtime())
    channel.send(
        "base_report",
        unsafe=why,
        module=module,
        asked=preloading.asked(),
        packages=project_files.package_folders(),
    )
    channel.send("ready")


def _become_template(channel: Channel, spec: ProcessSpec) -> RecordHandler:
    """Load the file; send `Failed` and end if it does not load."""
    link = HostLink(channel, spec)
    _set_up(channel, spec, link)
    open_before, drawn = fork_safety.descriptors(), list[str]()
    link.send("loading")
    started = time.monotonic()
    gc.disable()
    try:
        with fork_safety.random_use(drawn):
            _work(spec.runtime)[spec.kind](link)
    except BaseException as error:
        link.fail(error)
        channel.flush_here()
        os._exit(1)
    took = (time.monotonic() - started) * 1000
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    unsafe = fork_safety.unsafe(open_before)
    gc.freeze()
    link.send("template_report", load_ms=took, unsafe=unsafe, drawn=drawn)
    link.send("ready")
    return link.records


def _exit(code: int) -> NoReturn:
    """Exit as the interpreter does, with thread joins and atexit functions, but without tearing down the
    modules: with an SDK loaded that takes half a second and has no effect.
    """
    threading._shutdown()  # type: ignore[attr-defined]
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):
            stream.flush()
    os._exit(code)
