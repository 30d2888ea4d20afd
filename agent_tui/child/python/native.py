"""The contract of a native agent file, and the objects that its functions get.

Duck-typed: a module-level `agent` (object or mapping) or the module itself has `entry(ctx)` and optionally
`prewarm(proc)`, `request_func(req)`, and `load_func(worker)`.
"""

from __future__ import annotations

import contextlib
import importlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any, Callable

if TYPE_CHECKING:
    from .control import Offer

AGENT_NAME_ATTRIBUTE = "lk.agent.name"
"""The participant attribute that both SDKs set (livekit-agents.md §1.3)."""

ROOM_LEFT = "room disconnected"
"""The reason of a job whose room connection ended, in the SDK's words."""

NO_MEDIA = (
    "this server has no media, so ctx.connect() cannot join room {room!r}; start a real one "
    "(`livekit-server --dev`) and run agent-tui with --url ws://localhost:7880"
)


class NoEntryError(Exception):
    """The file has no entry function."""


class NoMediaError(RuntimeError):
    """`ctx.connect()` on a server that cannot carry media."""


@dataclass(frozen=True)
class Agent:
    """The four functions of a native file."""

    entry: Callable[..., Any]
    prewarm: Callable[..., Any] | None
    request_func: Callable[..., Any] | None
    load_func: Callable[..., Any] | None


def find_agent(module: ModuleType, file: str) -> Agent:
    """Return the functions of a loaded file.

    Raise NoEntryError if it has no entry function, and TypeError if one of the four names is not a function.
    """
    holder = getattr(module, "agent", None)
    if holder is None or isinstance(holder, ModuleType):
        holder = module
    look: Callable[[str], Any] = (
        holder.get if isinstance(holder, Mapping) else lambda name: getattr(holder, name, None)
    )
    found = {name: look(name) for name in ("entry", "prewarm", "request_func", "load_func")}
    for name, value in found.items():
        if value is not None and not callable(value):
            raise TypeError(f"{name} in {file} is {type(value).__name__}, not a function")
    if found["entry"] is None:
        where = "the module-level `agent`" if holder is not module else "the module"
        raise NoEntryError(f"{file} has no entry function: {where} needs `async def entry(ctx)`")
    return Agent(**found)


def record(value: Any) -> Any:
    """Return the host's view of a protobuf message as an object with attributes; maps stay dictionaries."""
    if isinstance(value, dict):
        if "$map" in value:
            return dict(value["$map"])
        return SimpleNamespace(**{key: record(each) for key, each in value.items()})
    if isinstance(value, list):
        return [record(each) for each in value]
    return value


@dataclass
class Process:
    """`proc` of prewarm and `ctx.proc`: prewarm leaves things for the job in `userdata`."""

    userdata: dict[str, Any] = field(default_factory=dict)
    pid: int = field(default_factory=os.getpid)


@dataclass
class Worker:
    """The load function's argument: live data, replaced whenever agent-tui sends it."""

    id: str = ""
    active_jobs: list[Any] = field(default_factory=list)
    draining: bool = False


class Request:
    """`req` of the request function."""

    def __init__(self, job: Any, offer: Offer) -> None:
        self.job = job
        self.id: str = job.id
        self.room = job.room
        self.publisher = job.participant
        self.agent_name: str = job.agent_name
        self._offer = offer

    async def accept(
        self,
        *,
        name: str = "",
        identity: str = "",
        metadata: str = "",
        attributes: dict[str, str] | None = None,
    ) -> None:
        """Accept the job, and return once it is launched.

        Raise RuntimeError if it is not launched, or if the offer was already answered.
        """
        stamped = {AGENT_NAME_ATTRIBUTE: self.agent_name, **(attributes or {})}
        error = await self._offer.accept(identity, name, metadata, stamped)
        if error is not None:
            raise RuntimeError(f"job {self.id} was accepted but not started: {error}")

    async def reject(self) -> None:
        """Leave the job to other workers."""
        self._offer.answer()


class Context:
    """`ctx` of the entry function."""

    def __init__(
        self,
        value: dict[str, Any],
        proc: Process,
        end: Callable[[str], None],
        joined: Callable[[], None],
    ) -> None:
        self.job = record(value["job"])
        self.proc = proc
        self.worker_id: str = value["worker_id"]
        self.token: str = value["token"]
        self.url: str = value["url"]
        self._log_fields: dict[str, Any] = {}
        self.shutdown_callbacks: list[Callable[..., Any]] = []
        self.connected = False
        self._fake = bool(value["fake_job"])
        self._end = end
        self._joined = joined
        self._room: Any = None

    @property
    def log_context_fields(self) -> dict[str, Any]:
        """Fields that are added to each log record of the job."""
        return self._log_fields

    @log_context_fields.setter
    def log_context_fields(self, fields: Mapping[str, Any]) -> None:
        replacement = dict(fields)
        self._log_fields.clear()
        self._log_fields.update(replacement)

    @property
    def room(self) -> Any:
        """The `livekit.rtc.Room` that `connect()` joins; without that package, the job's room as data."""
        if self._room is None:
            try:
                rtc = importlib.import_module("livekit.rtc")
            except ImportError:
                return self.job.room
            self._room = rtc.Room()
            with contextlib.suppress(AttributeError):
                self._room._info.name = self.job.room.name
        return self._room

    async def connect(self, **options: Any) -> None:
        """Join the room; `options` are those of `livekit.rtc.RoomOptions`. A second call does nothing."""
        if self.connected:
            return
        if self._fake:
            raise NoMediaError(NO_MEDIA.format(room=self.job.room.name))
        try:
            rtc = importlib.import_module("livekit.rtc")
        except ImportError:
            raise RuntimeError(
                "ctx.connect() needs the `livekit` package in the agent's environment (pip install livekit)"
            ) from None
        room = self.room
        await room.connect(self.url, self.token, options=rtc.RoomOptions(**options))
        self.connected = True
        self._joined()
        room.on("disconnected", lambda *_: self._end(ROOM_LEFT))
        leave = room.disconnect

        async def disconnect(*args: Any, **kwargs: Any) -> Any:
            # The server's termination of a job whose agent left may arrive before the event.
            self._end(ROOM_LEFT)
            return await leave(*args, **kwargs)

        room.disconnect = disconnect

    async def leave(self) -> None:
        """Leave the room, if it was joined."""
        if self.connected:
            await self._room.disconnect()

    def shutdown(self, reason: str = "") -> None:
        """End the job gracefully."""
        self._end(reason or "user requested")

    def add_shutdown_callback(self, callback: Callable[..., Any]) -> None:
        """Call `callback()` or `callback(reason)`, sync or async, when the job ends."""
        self.shutdown_callbacks.append(callback)
