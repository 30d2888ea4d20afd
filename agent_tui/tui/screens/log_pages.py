"""The pages of the log pane: one record, the filters, and saving the shown lines to a file."""

import asyncio
import json
import re
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import ClassVar, TextIO

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.widgets import Input, OptionList, Select, Static
from textual.widgets.option_list import Option

from agent_tui.files import create_file, replace_file
from agent_tui.logs.sanitize import sanitize
from agent_tui.model.logs import LogLevel, LogLine
from agent_tui.model.state import AppState
from agent_tui.tui.screens.confirm import Confirm
from agent_tui.tui.screens.page import Page
from agent_tui.tui.widgets.log_filter import HOST, LEVEL, LEVELS, Chosen, chips, choices, toggle
from agent_tui.tui.widgets.log_text import as_json, as_text, clock, date
from agent_tui.tui.widgets.text import counted, one_line, project_path

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
    known = [(one_line(name), sanitize(value)) for name, value in facts if value]
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


ALL = "all"


class LogFilters(Page[None]):
    """Each choice takes effect at once; Esc closes it."""

    DEFAULT_CSS = """
    LogFilters {
        #filters-box {
            width: 64; max-width: 100%; height: auto; max-height: 90%;
        }
        #filters-level { height: 1; margin-bottom: 1; }
        #filters-word { width: 9; }
        #filters-level Select { width: 1fr; }
        OptionList {
            height: auto; max-height: 100%;
            border: none; padding: 0;
            background: $surface; background-tint: transparent;
        }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q,F", "close", "Close", show=False),
        Binding("backspace,delete", "clear", "Show all", show=False),
    ]

    def __init__(
        self, state: AppState, level: LogLevel, chosen: Chosen, choose: Callable[[Chosen], None]
    ) -> None:
        """`level` is the option logLevel: the view never shows lines below it."""
        super().__init__()
        self._state, self._level, self._chosen, self._choose = state, level, chosen, choose

    def compose(self) -> ComposeResult:
        words = [(f"{self._level.label} and above (logLevel)", ALL)]
        words += [(f"{level.label} and above", level.label) for level in LEVELS if level > self._level]
        shown = self._chosen.level
        value = shown.label if shown is not None and shown > self._level else ALL
        with Vertical(id="filters-box", classes="page-box") as box:
            box.border_title = "Log filters"
            box.border_subtitle = "Enter select · Backspace clear all · Esc close"
            with Horizontal(id="filters-level"):
                yield Static("Level", id="filters-word", markup=False)
                yield Select(words, value=value, allow_blank=False, compact=True)
            yield OptionList(*self._options(), compact=True)

    def on_mount(self) -> None:
        self.query_one(OptionList).focus()

    def _options(self) -> list[Option]:
        """Return the headings and their choices; selected ones are ticked."""
        ticked = {chip.name for chip in chips(self._chosen, None)}
        options: list[Option] = []
        for heading, rows in choices(self._state, self._chosen):
            if rows:
                options.append(Option(Content.styled(heading, "bold"), disabled=True))
            for chip in rows:
                mark = "✓" if chip.name in ticked else " "
                options.append(Option(Content(f" {mark} {chip.label}"), id=chip.name))
        return options

    @on(Select.Changed)
    def _level_chosen(self, event: Select.Changed) -> None:
        event.stop()
        level = None if event.value == ALL else LogLevel[str(event.value).upper()]
        if level is not self._chosen.level:
            off = f"{LEVEL}{self._chosen.level.label}" if self._chosen.level is not None else ""
            self._apply(toggle(self._chosen, f"{LEVEL}{level.label}" if level is not None else off))

    @on(OptionList.OptionSelected)
    def _toggled(self, event: OptionList.OptionSelected) -> None:
        event.stop()
        if event.option_id is not None:
            self._apply(toggle(self._chosen, event.option_id))

    def action_clear(self) -> None:
        """Remove all filters."""
        self._apply(Chosen())
        self.query_one(Select).value = ALL

    def action_close(self) -> None:
        self.dismiss(None)

    def _apply(self, chosen: Chosen) -> None:
        self._chosen = chosen
        self._choose(chosen)
        rows = self.query_one(OptionList)
        for index, option in enumerate(self._options()):
            rows.replace_option_prompt_at_index(index, option.prompt)


class LogExport(Page[None]):
    """Closes when the file has been saved; on an error, it shows why and remains open."""

    DEFAULT_CSS = """
    LogExport {
        #export-box {
            width: 72; max-width: 100%; height: auto;
        }
        Static { height: auto; color: $text-muted; }
        Static.-failed { color: $text-error; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "close", "Close", show=False)]

    def __init__(self, lines: Callable[[], Sequence[LogLine]], folder: Path) -> None:
        """`lines()` returns the shown lines; `folder` is the folder of the suggested file."""
        super().__init__()
        self._lines = lines
        self._folder = folder
        self._writing = False

    def compose(self) -> ComposeResult:
        with Vertical(id="export-box", classes="page-box") as box:
            box.border_title = "Save log"
            box.border_subtitle = "Enter save · Esc close"
            suggested = project_path(str(self._folder / default_name(time.time())))
            yield Input(suggested, compact=True, select_on_focus=False)
            yield Static(self._about(), id="export-note", markup=False)

    def _about(self) -> Content:
        lines = counted(len(self._lines()), "line")
        return Content(f"{lines}, as text; for JSON lines, end the name with .jsonl")

    @on(Input.Changed)
    def _changed(self, event: Input.Changed) -> None:
        event.stop()
        self._say("")

    @on(Input.Submitted)
    def _submitted(self, event: Input.Submitted) -> None:
        event.stop()
        if not self._writing:
            self.run_worker(self._write(event.value.strip()))

    async def _write(self, name: str) -> None:
        if not name:
            self._say("enter a file name")
            return
        self._writing = True
        try:
            self._written(await self._write_asking(name))
        except (OSError, ValueError, RuntimeError) as error:  # RuntimeError: no such user (~name)
            self._say(f"not saved: {getattr(error, 'strerror', None) or error}")
        finally:
            self._writing = False

    async def _write_asking(self, name: str) -> tuple[Path, int] | None:
        """Write the file; return its path and number of lines, or None if an existing file is kept."""
        lines = self._lines()
        try:
            return await asyncio.to_thread(write, name, lines, folder=self._folder)
        except FileExistsError:
            question = Confirm(f"Overwrite {name}?", "The file already exists.", yes="Overwrite", no="Keep")
            if not await self.app.push_screen_wait(question):
                return None
        return await asyncio.to_thread(write, name, lines, overwrite=True)

    def _written(self, result: tuple[Path, int] | None) -> None:
        if result is not None:
            path, count = result
            where = one_line(project_path(str(path)))
            self.app.notify(f"saved {counted(count, 'line')} to {where}", markup=False)
            self.dismiss(None)

    def _say(self, wrong: str) -> None:
        note = self.query_one("#export-note", Static)
        note.set_class(bool(wrong), "-failed")
        note.update(Content(one_line(wrong, 200)) if wrong else self._about())

    def action_close(self) -> None:
        if not self._writing:
            self.dismiss(None)


CHUNK = 2_000


def form_of(path: Path) -> Callable[[LogLine], str]:
    """Return the format for a file: JSON lines for .jsonl and .ndjson, otherwise text."""
    return as_json if path.suffix.lower() in (".jsonl", ".ndjson") else as_text


def default_name(now: float) -> str:
    """Return the suggested file name; `now` is in Unix seconds."""
    return time.strftime("agent-tui-%Y%m%d-%H%M%S.log", time.localtime(now))


def write(
    name: str, lines: Sequence[LogLine], *, overwrite: bool = False, folder: Path | None = None
) -> tuple[Path, int]:
    """Write the lines to a file, all or nothing; return its absolute path and the number of lines.

    `folder` is created if the file is in it. Any other missing folder is an error, since it may be a typo.
    Raises FileExistsError if the file exists and `overwrite` is False, another OSError if writing fails, and
    ValueError or RuntimeError for an invalid name.
    """
    path = Path(name).expanduser().absolute()
    if path.is_dir() or (path.exists() and not path.is_file()):
        raise OSError(f"{name} is not a regular file")
    if path.parent == folder:
        folder.mkdir(parents=True, exist_ok=True)
    form, count = form_of(path), 0

    def write_lines(file: TextIO) -> None:
        nonlocal count
        for count, line in enumerate(lines, 1):
            file.write(form(line).encode("utf-8", "replace").decode() + "\n")
            if not count % CHUNK:
                time.sleep(0)  # let the screen's thread run

    if overwrite:
        replace_file(path, write_lines)
    else:
        create_file(path, write_lines)
    return path, count
