"""Starts the children of one generation of an agents-js file: claims blanks, and sends them the file."""

import base64
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from agent_tui.model.child import Child, Failed, Manifest, ProcessKind
from agent_tui.model.clock import Clock
from agent_tui.model.logs import LogLevel, LogSink
from agent_tui.runtimes.channel import encode_line
from agent_tui.runtimes.kinds import AGENTS_JS, KINDS
from agent_tui.runtimes.node.blanks import Blanks
from agent_tui.runtimes.node.child import NodeChild
from agent_tui.runtimes.node.dialect import NodeDialect
from agent_tui.runtimes.python import ChildSettings, Modules


class NodeRuntime:
    """Starts children of one generation from the project's blanks."""

    def __init__(
        self,
        blanks: Blanks,
        file: Path,
        environ: Mapping[str, str],
        sink: LogSink,
        clock: Clock,
        log_level: int = LogLevel.DEBUG,
        settings: ChildSettings | None = None,
        modules: Modules | None = None,
    ) -> None:
        """`environ` is the whole environment of the file; without `modules`, the project's modules come from
        the disk.
        """
        self.environ = dict(environ)
        self.unforked = blanks.method
        self.keeps_control = False
        self._blanks = blanks
        self._file = Path(os.path.realpath(file))  # `resolve` raises for a link to itself
        self._sink = sink
        self._clock = clock
        self._log_level = log_level
        self._settings = settings or ChildSettings()
        self._modules = modules or Modules()
        self._snapshot: Mapping[str, Mapping[str, str]] | None = None
        self._is_warm = False
        """Whether a job process was started, which is all that a load waits for."""
        self._closed = False

    def configure(self, settings: ChildSettings) -> None:
        """Set the settings of children launched from now on."""
        self._settings = settings

    def serve(self, modules: Modules) -> None:
        """Set the project's modules for children launched from now on."""
        if modules != self._modules:
            self._modules, self._snapshot = modules, None

    async def other_kind(self, result: Manifest | Failed | None) -> str:
        """Return nothing: the suffix decides the file's kind."""
        return ""

    def close(self) -> None:
        """Refuse further launches."""
        self._closed = True

    async def launch(
        self, kind: ProcessKind, process_id: str, functions: str = "", parents: Sequence[Child] = ()
    ) -> NodeChild:
        """Start a child of that kind. `functions` comes from the manifest. Raise OSError if it does
        not start.
        """
        if self._closed:
            raise OSError("its generation has ended")
        found = json.loads(functions) if functions else {}
        dialect = NodeDialect(kind, process_id, self._sink, self._clock, self.environ)
        initialize = b"" if kind is ProcessKind.CONTROL else self._initialize()
        spec = {
            "kind": str(kind),
            "process_id": process_id,
            "file": found.get("agent", str(self._file)) if kind is ProcessKind.JOB else str(self._file),
            "environ": self.environ,
            "production": self._settings.production,
            "request_func": self._settings.request_func,
            "load_func": self._settings.load_func,
            "runners": found.get("runners", "{}"),
            "snapshot": self._written_snapshot(),
            "missing": sorted(self._modules.missing),
        }
        for_load = kind is ProcessKind.CONTROL or not self._is_warm
        self._is_warm = self._is_warm or kind is ProcessKind.JOB
        return NodeChild(
            self._blanks.claim(self.environ, kind, process_id, for_load=for_load),
            self._blanks,
            KINDS[AGENTS_JS].traits,
            dialect,
            self._sink,
            process_id,
            encode_line("spec", spec),
            initialize,
        )

    def _initialize(self) -> bytes:
        """Return the line that starts the SDK's job or inference process (agents-js.md §8.2)."""
        value = {
            "loggerOptions": {"pretty": False, "level": _level_word(self._log_level)},
            "sessionEndTimeout": self._settings.session_end_timeout_ms,
            "pingInterval": 2500,
            "pingTimeout": 60_000,
            "highPingThreshold": 500,
        }
        return encode_line("initializeRequest", value)

    def _written_snapshot(self) -> Mapping[str, Mapping[str, str]]:
        if self._snapshot is None:
            self._snapshot = {path: _text(content) for path, content in self._modules.contents.items()}
        return self._snapshot


def _text(content: bytes) -> Mapping[str, str]:
    try:
        return {"text": content.decode("utf-8")}
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(content).decode("ascii")}


def _level_word(level: int) -> str:
    return max((each for each in LogLevel if each <= level), default=LogLevel.TRACE).label
