"""The job process of a native file: prewarm, wait, one job, a graceful end."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import logging
import time
from typing import TYPE_CHECKING, Any, Callable

from . import debugging, loading, native
from .native_control import MODULE

if TYPE_CHECKING:
    from .process import HostLink

_log = logging.getLogger("agent-tui")

ENTRY_GRACE_S = 1.0
"""Seconds that an entry function may continue after its job has ended. Then it is cancelled."""

CANCEL_LIMIT_S = 5.0
"""Seconds that a cancelled entry function may take to end."""


_loaded: native.Agent | None = None
"""The agent, once this process or the template that it was forked from has loaded it."""


def load(link: HostLink) -> native.Agent:
    """Return the agent. Load the file, unless this process is a fork of a template that has loaded it."""
    global _loaded
    if _loaded is None:
        _loaded = native.find_agent(loading.run_file(link.spec.file, MODULE), link.spec.file)
        link.records.install()
    return _loaded


def run(link: HostLink) -> None:
    """Load and prewarm (`Loading`, then `Ready` or `Failed`), then serve until the job has ended."""
    loop = link.loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    process = native.Process()
    link.send("loading")
    try:
        agent = load(link)
        if agent.prewarm is not None:
            warmed = agent.prewarm(process)
            if inspect.isawaitable(warmed):
                loop.run_until_complete(_awaited(warmed))
    except BaseException as error:
        link.fail(error)
        raise SystemExit(1) from None
    link.send("ready")
    try:
        loop.run_until_complete(_JobProcess(link, agent, process).serve())
    finally:
        _close(loop)


async def _awaited(value: Any) -> Any:
    return await value


def _close(loop: asyncio.AbstractEventLoop) -> None:
    """Cancel the tasks that the agent left on the loop, as `asyncio.run` does, but with a time limit."""
    left = asyncio.all_tasks(loop)
    for task in left:
        task.cancel()
    if left:
        loop.run_until_complete(asyncio.wait(left, timeout=CANCEL_LIMIT_S))
    loop.run_until_complete(loop.shutdown_asyncgens())
    asyncio.set_event_loop(None)
    loop.close()


class _JobProcess:
    def __init__(self, link: HostLink, agent: native.Agent, process: native.Process) -> None:
        self._link = link
        self._agent = agent
        self._process = process
        self._job: asyncio.Task[None] | None = None
        self._handlers: dict[str, Callable[[dict[str, Any]], None]] = {
            "ping": lambda value: link.send("pong", sent_ms=value["sent_ms"]),
            "start_job": self._start,
            "shutdown": self._shutdown,
        }

    async def serve(self) -> None:
        loop = asyncio.get_running_loop()
        self._over = asyncio.Event()
        self._reason: asyncio.Future[str] = loop.create_future()

        def receive(case: str, value: dict[str, Any]) -> None:
            with contextlib.suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(self._receive, case, value)

        self._link.listen(receive)
        await self._over.wait()

    def _receive(self, case: str, value: dict[str, Any]) -> None:
        handler = self._handlers.get(case)
        if handler is not None:
            handler(value)

    def _shutdown(self, value: dict[str, Any]) -> None:
        self._link.send("shutdown_ack")
        if self._job is None:
            self._link.send("shutting_down")
            self._over.set()
        else:
            self._end(value["reason"] or "shut down")

    def _start(self, value: dict[str, Any]) -> None:
        if self._job is not None:
            _log.error("ignored a second job: this process runs one")
            return
        context = native.Context(value, self._process, self._end, self._joined)
        fields = {"job_id": context.job.id, "room": context.job.room.name}
        self._link.records.context[:] = [fields, context.log_context_fields]
        self._job = asyncio.create_task(self._run(context), name="job")
        self._job.add_done_callback(lambda _: self._over.set())

    def _end(self, reason: str) -> None:
        if not self._reason.done():
            self._reason.set_result(reason)

    def _joined(self) -> None:
        self._link.send("job_connected", at=time.time())

    async def _run(self, context: native.Context) -> None:
        entry = asyncio.create_task(self._enter(context), name="entry")
        reason = await self._reason
        await self._stop(entry)
        self._link.send("exiting", reason=reason)
        self._link.send("shutting_down")
        await asyncio.gather(*(_call_back(each, reason) for each in context.shutdown_callbacks))
        try:
            await context.leave()
        except Exception:
            _log.exception("leaving the room failed")

    async def _enter(self, context: native.Context) -> None:
        try:
            await debugging.wait_for_client(self._link.debug_port)
            self._link.send("entry_started", at=time.time())
            result = self._agent.entry(context)
            if inspect.isawaitable(result):
                await result
        except asyncio.CancelledError:
            self._end("cancelled")
            raise
        except BaseException as error:
            described = loading.describe(error, self._link.spec.file)
            _log.error("entry function raised %s\n%s", type(error).__name__, described["traceback"])
            self._link.send("job_crashed", error=described["error"], traceback=described["traceback"])
            self._end("job crashed")
        else:
            if not context.connected:
                self._end("entry returned")

    async def _stop(self, entry: asyncio.Task[None]) -> None:
        done, _ = await asyncio.wait([entry], timeout=ENTRY_GRACE_S)
        if not done:
            entry.cancel()
            done, _ = await asyncio.wait([entry], timeout=CANCEL_LIMIT_S)
            if not done:
                _log.warning("the entry function is still running although it was cancelled")


async def _call_back(callback: Callable[..., Any], reason: str) -> None:
    try:
        result = callback(reason) if _takes_reason(callback) else callback()
        if inspect.isawaitable(result):
            await result
    except Exception:
        _log.exception("a shutdown callback failed")


def _takes_reason(callback: Callable[..., Any]) -> bool:
    try:
        inspect.signature(callback).bind("")
    except TypeError:
        return False
    except ValueError:  # a builtin without a signature
        return True
    return True
