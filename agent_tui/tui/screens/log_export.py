"""The page that saves the shown log lines to a file; asks for its name, and before it overwrites one."""

import asyncio
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.widgets import Input, Static

from agent_tui.model.logs import LogLine
from agent_tui.tui.screens.confirm import Confirm
from agent_tui.tui.screens.page import Page
from agent_tui.tui.widgets.log_export import default_name, write
from agent_tui.tui.widgets.text import counted, one_line, project_path


class LogExport(Page[None]):
    """Closes when the file is saved; on an error it shows why and stays open."""

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
        """`lines()` returns the shown lines; `folder` is that of the suggested file."""
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
