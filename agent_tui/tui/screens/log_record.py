"""The page of one log record: its fields and its whole text."""

import json
import re
from typing import ClassVar

from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.widgets import Static

from agent_tui.logs.sanitise import sanitise
from agent_tui.model.logs import LogLine
from agent_tui.tui.screens.page import Page
from agent_tui.tui.widgets.log_export import date
from agent_tui.tui.widgets.log_text import HOST, clock
from agent_tui.tui.widgets.text import one_line

_FRAME = re.compile(r'^ +File "([^"\n]+)", line (\d+)', re.MULTILINE)


class LogRecord(Page[None]):
    """Shows a record's time, origin, fields, and text. Esc, Enter, or q closes it."""

    DEFAULT_CSS = """
    LogRecord {
        .page-box { width: 90%; max-width: 140; height: auto; max-height: 90%; }
        #record-head { height: auto; color: $text-muted; }
        #record-scroll { scrollbar-size-vertical: 1; height: auto; max-height: 100%; margin: 1 0 0 0; }
        #record-text { height: auto; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,enter,q", "dismiss", "Close", show=False),
        Binding("c", "copy", "Copy", show=False),
    ]

    def __init__(self, line: LogLine) -> None:
        super().__init__()
        self._line = line

    def compose(self) -> ComposeResult:
        with Vertical(classes="page-box") as box:
            box.border_title = f"{self._line.level.name} record"
            box.border_subtitle = "c copy · Esc close"
            yield Static(Text(record_head(self._line)), id="record-head")
            with VerticalScroll(id="record-scroll"):
                yield Static(Text(self._line.text.rstrip("\n")), id="record-text")

    def on_mount(self) -> None:
        self.query_one("#record-scroll").focus()

    def action_copy(self) -> None:
        """Copy the record's text."""
        self.app.copy_to_clipboard(self._line.text)
        self.notify("copied the text", markup=False)


def record_head(line: LogLine) -> str:
    """Return the record's fields, one per row."""
    process = line.source.process_id
    facts: list[tuple[str, str]] = [
        ("time", f"{date(line.ts)}{clock(line.ts, millis=True)}"),
        ("from", f"process {process}, {line.source.stream}" if process else HOST),
        ("job", line.job_id or ""),
        ("generation", str(line.generation or "")),
        ("logger", line.logger),
        ("at", _place(line.text)),
        *((str(name), _plain(value)) for name, value in (json_fields(line.text) | line.fields).items()),
    ]
    known = [(one_line(name), sanitise(value)) for name, value in facts if value]
    width = min(max(len(name) for name, _ in known), 20)
    return "\n".join(f"{name:<{width}}  {value}" for name, value in known)


def json_fields(text: str) -> dict[str, object]:
    """Return the fields of a line that is a JSON object, as some loggers write; empty for any other line."""
    if not text.startswith("{"):
        return {}
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _place(text: str) -> str:
    """Return file:line of a traceback's innermost frame; empty without one."""
    frames = _FRAME.findall(text)
    return ":".join(frames[-1]) if frames else ""


def _plain(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
