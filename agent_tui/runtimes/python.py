"""Children on the agent's own Python interpreter, behind the `Child` seam."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import MappingProxyType

from agent_tui.model.child import ChildTraits, FromChild, MemoryMeasure, ProcessKind, ToChild
from agent_tui.model.clock import Clock
from agent_tui.model.logs import LogLevel, LogSink, LogSource, LogStream, nearest_level
from agent_tui.runtimes.channel import (
    ChannelError,
    JobView,
    LogRecord,
    base64_job,
    decode,
    encode,
    encode_line,
)
from agent_tui.runtimes.detect import LIVEKIT_AGENTS, NATIVE
from agent_tui.runtimes.headstart import HeadStart, child_command
from agent_tui.runtimes.jobs import job_data
from agent_tui.runtimes.line_child import LineChild
from agent_tui.runtimes.spawn import adopt, start, system_pidfd_open

_TRAITS = {
    NATIVE: ChildTraits(stacks=True, reports_loading=True, memory=MemoryMeasure.RSS),
    LIVEKIT_AGENTS: ChildTraits(stacks=True, reports_loading=True, memory=MemoryMeasure.PSS),
}
_JOB_VIEWS: dict[str, JobView] = {NATIVE: job_data, LIVEKIT_AGENTS: base64_job}


@dataclass(frozen=True, slots=True)
class ChildSettings:
    """Effective options that act inside a job process. Milliseconds."""

    session_end_timeout_ms: int = 300_000


class _Dialect:
    """The Python children's dialect, with their log records going to the sink."""

    def __init__(self, job_view: JobView, process_id: str, sink: LogSink, clock: Clock) -> None:
        self._job_view = job_view
        self._process_id = process_id
        self._sink = sink
        self._clock = clock

    def encode(self, message: ToChild) -> bytes:
        return encode(message, self._job_view)

    def decode(self, line: bytes) -> tuple[FromChild, ...]:
        try:
            message = decode(line)
        except ChannelError as error:
            self.complain(str(error))
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

    def complain(self, text: str) -> None:
        source = LogSource(self._process_id, LogStream.HOST)
        self._sink.write(source, LogLevel.WARN, text, ts=self._clock.time())


class PythonRuntime:
    """Starts children for one agent file, each a fresh process on the given interpreter."""

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
        overlay: Mapping[str, str] = MappingProxyType({}),
        head_start: HeadStart | None = None,
    ) -> None:
        """`environ` is the environment that children start with, `overlay` what they set over it before
        they load the file. `log_level`: records below it are not sent. The first control process is the
        child that `head_start` has under way.
        """
        self.name = name
        self._command = child_command(interpreter, cwd, dict(environ))
        self._overlay = dict(overlay)
        self._file = file.absolute()
        self._sink = sink
        self._clock = clock
        self._log_level = int(log_level)
        self._settings = settings or ChildSettings()
        self._head_start = head_start

    async def launch(self, kind: ProcessKind, process_id: str, functions: str = "") -> LineChild:
        """Starts a child of that kind; `functions` is the manifest's. Raises OSError."""
        started = self._head_start.take() if self._head_start and kind is ProcessKind.CONTROL else None
        process = adopt(started or start(self._command), process_id, self._sink, system_pidfd_open())
        dialect = _Dialect(_JOB_VIEWS[self.name], process_id, self._sink, self._clock)
        child = LineChild(process, _TRAITS[self.name], dialect)
        orders = {
            "runtime": self.name,
            "kind": str(kind),
            "process_id": process_id,
            "file": str(self._file),
            "log_level": self._log_level,
            "functions": functions,
            "environ": self._overlay,
        }
        child.send_line(encode_line("orders", orders | asdict(self._settings)))
        return child
