"""Children on the agent's Python interpreter, behind the `Child` interface."""

import base64
import contextlib
import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from google.protobuf.message import Message
from livekit.protocol.agent import Job

from agent_tui.model.child import Child, Failed, FromChild, Manifest, ProcessKind, ToChild
from agent_tui.model.clock import Clock
from agent_tui.model.codec import CodecError
from agent_tui.model.events import StartMethod
from agent_tui.model.logs import LogLevel, LogSink, LogSource, LogStream, nearest_level
from agent_tui.runtimes.channel import (
    ForkMessage,
    JobView,
    LogRecord,
    base64_job,
    decode,
    encode,
    encode_line,
)
from agent_tui.runtimes.forks import ForkedProcess, ForkServer
from agent_tui.runtimes.kinds import KINDS, LIVEKIT_AGENTS, NATIVE, changed_kind, may_be_of_another_kind
from agent_tui.runtimes.line_child import LineChild
from agent_tui.runtimes.spawn import HeadStart, SpawnedProcess, adopt, child_command, start, system_pidfd_open
from agent_tui.runtimes.threads import off_loop


def job_data(job: bytes) -> dict[str, Any]:
    """Return a serialized `livekit.Job` as plain data, for children whose interpreter may have no protobuf.

    Names are the proto's (snake_case), all fields are present with their defaults, numbers stay numbers,
    enums are names (`JT_ROOM`), bytes are base64, and an unset message is None. A map is wrapped as `{"$map":
    …}` to tell it from a message. Raise google.protobuf.message.DecodeError if `job` is not valid.
    """
    message = Job()
    message.ParseFromString(job)
    return message_data(message)


def message_data(message: Message) -> dict[str, Any]:
    """Return any message as plain data."""
    return {each.name: _field(message, each) for each in message.DESCRIPTOR.fields}


def _field(message: Message, field: Any) -> Any:
    value = getattr(message, field.name)
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        entry = field.message_type.fields_by_name["value"]
        return {"$map": {str(key): _single(each, entry) for key, each in value.items()}}
    if field.is_repeated:
        return [_single(each, field) for each in value]
    if field.message_type is not None and not message.HasField(field.name) and field.name != "room":
        return None
    return _single(value, field)


def _single(value: Any, field: Any) -> Any:
    if field.message_type is not None:
        return message_data(value)
    if field.enum_type is not None:
        known = field.enum_type.values_by_number.get(value)
        return known.name if known is not None else value
    return base64.b64encode(value).decode("ascii") if isinstance(value, bytes) else value


_JOB_VIEWS: dict[str, JobView] = {NATIVE: job_data, LIVEKIT_AGENTS: base64_job}
"""The form in which a job is sent to its child. This table is not in `kinds`, because it imports protobuf."""


@dataclass(frozen=True, slots=True)
class ChildSettings:
    """Effective options that a child needs. Functions are names in the agent's file; empty for none."""

    session_end_timeout_ms: int = 300_000
    request_func: str = ""
    load_func: str = ""
    production: bool = False


class _Dialect:
    """The wire format of Python children; their log records go to the sink."""

    def __init__(self, job_view: JobView, process_id: str, sink: LogSink, clock: Clock) -> None:
        self._job_view = job_view
        self._process_id = process_id
        self._sink = sink
        self._clock = clock

    def encode(self, message: ToChild) -> bytes:
        return encode(message, self._job_view)

    def decode(self, line: bytes) -> tuple[FromChild | ForkMessage, ...]:
        try:
            message = decode(line)
        except CodecError as error:
            self.warn(str(error))
            return ()
        if not isinstance(message, LogRecord):
            return (message,)
        self._sink.write(
            LogSource(self._process_id, LogStream.RECORD),
            nearest_level(message.level),
            message.text,
            ts=message.ts,
            logger=message.logger,
            fields=dict(message.fields),
        )
        return ()

    def warn(self, text: str) -> None:
        source = LogSource(self._process_id, LogStream.HOST)
        self._sink.write(source, LogLevel.WARN, text, ts=self._clock.time())


SNAPSHOT_HEAD = 16
"""The number of digits at the start of the file, which give the length of the index."""


@dataclass(frozen=True, slots=True)
class Modules:
    """The project's modules in one generation: their contents by absolute path."""

    contents: Mapping[str, bytes] = field(default_factory=dict)
    missing: frozenset[str] = frozenset()
    """Imported modules, without suffix, that the generation does not have.

    Files that are saved under these names later belong to the next generation.
    """


class SnapshotFile:
    """The modules in an unnamed file; each child gets a descriptor of it (`child/python/snapshots.py`)."""

    def __init__(self, modules: Modules) -> None:
        """Write the modules. If that fails, raise OSError and leave no descriptor open."""
        places: dict[str, tuple[int, int]] = {}
        offset = 0
        for path, content in modules.contents.items():
            places[path] = offset, len(content)
            offset += len(content)
        index = json.dumps([places, sorted(modules.missing)], separators=(",", ":")).encode("ascii")
        self.fd = _unnamed_file()
        try:
            with os.fdopen(os.dup(self.fd), "wb") as file:
                file.write(f"{len(index):{SNAPSHOT_HEAD}}".encode("ascii"))
                file.write(index)
                for content in modules.contents.values():
                    file.write(content)
        except OSError:
            self.close()
            raise

    def close(self) -> None:
        """Close this process's descriptor; children have their own. Calling it more than once is safe."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


class PythonRuntime:
    """Starts children of one generation of an agent file: forks of a base or template, or fresh processes."""

    def __init__(
        self,
        name: str,
        interpreter: Path,
        file: Path,
        cwd: Path,
        environ: Mapping[str, str],
        sink: LogSink,
        clock: Clock,
        log_level: int = LogLevel.DEBUG,
        settings: ChildSettings | None = None,
        head_start: HeadStart | None = None,
        modules: Modules | None = None,
    ) -> None:
        """`environ` is the whole environment of the file; without `modules`, the project's modules come from
        the disk. Records below `log_level` are not sent. The first fresh process is the child that
        `head_start` has started.
        """
        self.name = name
        self.unforked = StartMethod.SPAWN
        self.keeps_control = True
        self._kind = KINDS[name]
        self._command = child_command(interpreter, cwd, dict(environ))
        self.environ = dict(environ)
        self._file = file.absolute()
        self._folder = str(Path(os.path.realpath(file)).parent)
        self._sink = sink
        self._clock = clock
        self._log_level = int(log_level)
        self._settings = settings or ChildSettings()
        self._head_start = head_start
        self._closed = False
        self._modules = modules
        self._snapshot: SnapshotFile | None = None

    def configure(self, settings: ChildSettings) -> None:
        """Set the settings of children launched from now on."""
        self._settings = settings

    def serve(self, modules: Modules) -> None:
        """Set the project's modules for children launched from now on."""
        if self._closed or modules == self._modules:
            return
        self._modules = modules
        self._drop_snapshot()

    async def other_kind(self, result: Manifest | Failed | None) -> str:
        """Return what the user must do if the file is now of another kind; empty if it is not."""
        if not may_be_of_another_kind(result, self.name):
            return ""
        return await off_loop(changed_kind, self._file, self.name)

    def close(self) -> None:
        """Refuse further launches, and release the modules. Running children keep theirs."""
        self._closed = True
        self._drop_snapshot()

    async def launch(
        self, kind: ProcessKind, process_id: str, functions: str = "", parents: Sequence[Child] = ()
    ) -> LineChild:
        """Start a child of that kind: a fork of the first of `parents` that can fork, else a fresh process.

        `functions` comes from the manifest. Raise OSError if it does not start.
        """
        self._raise_if_closed()
        process = await self._fork(kind, process_id, parents) or self._spawn(process_id)
        make = ForkServer if kind is ProcessKind.TEMPLATE else LineChild
        child = make(process, self._kind.traits, self._dialect(process_id))
        try:
            self._raise_if_closed()
            snapshot = self._written_snapshot()
            spec = {
                "runtime": self.name,
                "kind": str(kind),
                "process_id": process_id,
                "file": str(self._file),
                "folder": self._folder,
                "log_level": self._log_level,
                "functions": functions,
                "environ": self.environ,
                "snapshot": snapshot is not None,
            }
            fds = () if snapshot is None else (snapshot.fd,)
            child.send_line(encode_line("spec", spec | asdict(self._settings)), fds)
        except OSError:
            child.kill()
            await child.wait()
            raise
        return child

    async def launch_base(self, process_id: str, modules: Sequence[str]) -> ForkServer:
        """Start a base, which imports these installed modules and none of the project's. Raise
        OSError if it does not start.
        """
        base = ForkServer(self._spawn(process_id), self._kind.traits, self._dialect(process_id))
        base.send_line(encode_line("prepare", {"modules": list(modules)}))
        spec: dict[str, object] = {"runtime": self.name, "kind": str(ProcessKind.BASE), "functions": ""}
        spec |= {"process_id": process_id, "file": "", "folder": "", "environ": {}}
        spec |= {"log_level": self._log_level}
        base.send_line(encode_line("spec", spec | asdict(self._settings) | {"snapshot": False}))
        return base

    def _written_snapshot(self) -> SnapshotFile | None:
        """Return the file of modules, written at the first launch. Raise OSError, which fails that launch."""
        if self._snapshot is None and self._modules is not None:
            self._snapshot = SnapshotFile(self._modules)
        return self._snapshot

    def _drop_snapshot(self) -> None:
        if self._snapshot is not None:
            self._snapshot.close()
            self._snapshot = None

    def _raise_if_closed(self) -> None:
        if self._closed:
            raise OSError("its generation has ended")

    async def _fork(
        self, kind: ProcessKind, process_id: str, parents: Sequence[Child]
    ) -> ForkedProcess | None:
        for parent in parents:
            if not isinstance(parent, ForkServer):
                continue
            with contextlib.suppress(OSError):
                return await parent.fork(kind, process_id, self._sink)
        return None

    def _spawn(self, process_id: str) -> SpawnedProcess:
        started = self._head_start.claim() if self._head_start else None
        return adopt(started or start(self._command), process_id, self._sink, system_pidfd_open())

    def _dialect(self, process_id: str) -> _Dialect:
        return _Dialect(_JOB_VIEWS[self.name], process_id, self._sink, self._clock)


def _unnamed_file() -> int:
    if hasattr(os, "memfd_create"):
        return os.memfd_create("agent-tui generation")
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())
