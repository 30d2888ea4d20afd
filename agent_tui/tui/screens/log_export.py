"""Writes the log lines that are shown into a file; asks for its name, and before it overwrites one."""

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
from agent_tui.tui.widgets.text import grouped, one_line


class LogExport(Page[None]):
    """Closes when the file is written; what went wrong is told in one line, and the name can be mended."""

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

    def __init__(self, lines: Callable[[], Sequence[LogLine]]) -> None:
        """`lines()` gives what is shown."""
        super().__init__()
        self._lines = lines
        self._writing = False

    def compose(self) -> ComposeResult:
        with Vertical(id="export-box", classes="page-box") as box:
            box.border_title = "Write the lines shown into a file"
            box.border_subtitle = "Enter writes · Esc closes"
            yield Input(default_name(time.time()), compact=True, select_on_focus=False)
            yield Static(self._about(), id="export-told", markup=False)

    def _about(self) -> Content:
        lines = grouped(len(self._lines()))
        return Content(f"{lines} lines, as text; a name that ends with .jsonl makes it JSON lines")

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
            self._say("give the file a name")
            return
        self._writing = True
        try:
            self._written(await self._write_asking(name))
        except (OSError, ValueError, RuntimeError) as error:  # RuntimeError: there is no such user (~who)
            self._say(f"not written: {getattr(error, 'strerror', None) or error}")
        finally:
            self._writing = False

    async def _write_asking(self, name: str) -> tuple[Path, int] | None:
        """The file and its lines; None when it was there and shall stay."""
        lines = self._lines()
        try:
            return await asyncio.to_thread(write, name, lines)
        except FileExistsError:
            question = Confirm(f"{name} is there already.", "Its content is replaced.", yes="Overwrite")
            if not await self.app.push_screen_wait(question):
                return None
        return await asyncio.to_thread(write, name, lines, overwrite=True)

    def _written(self, result: tuple[Path, int] | None) -> None:
        if result is not None:
            path, count = result
            self.app.notify(f"written: {grouped(count)} lines to {one_line(str(path))}", markup=False)
            self.dismiss(None)

    def _say(self, wrong: str) -> None:
        told = self.query_one("#export-told", Static)
        told.set_class(bool(wrong), "-failed")
        told.update(Content(one_line(wrong, 200)) if wrong else self._about())

    def action_close(self) -> None:
        if not self._writing:
            self.dismiss(None)
