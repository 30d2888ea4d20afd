"""An app with a log pane over a small store."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import ClassVar

from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.pilot import Pilot
from textual.widgets import Input

from agent_tui.logs.store import LogStore
from agent_tui.model.logs import LogLevel, LogSource, LogStream
from agent_tui.tui.actions import ACTIONS, BY_NAME
from agent_tui.tui.preferences import default_exports
from agent_tui.tui.screens.log_pages import LogExport
from agent_tui.tui.widgets.log_bars import LogTitle
from agent_tui.tui.widgets.log_pane import LogPane
from agent_tui.tui.widgets.log_view import LogView
from tests.fakes.clock import FakeClock

VIEW = 11
"""Rows of lines in a pane of 80×12, below the title."""

TRACEBACK = "Traceback (most recent call last):\n  File 1\n    code\n  File 2\n    more\nBoom: no"


class Host(App[None]):
    """A log pane over a small store, with the keys of the app's registry."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding(key, f"act({action.name!r})")
        for action in ACTIONS
        if action.target in (LogPane, LogView) or action.name in ("copy_lines", "export_logs")
        for key in action.keys
    ]

    def __init__(self, capacity: int) -> None:
        super().__init__()
        self.store = LogStore(FakeClock(), capacity)
        self.pane = LogPane(level=LogLevel.DEBUG, capacity=capacity)

    def compose(self) -> ComposeResult:
        yield self.pane
        yield Input(id="other")

    async def action_act(self, name: str) -> None:
        """Run an action of the registry, as the app does."""
        if name == "export_logs":
            self.push_screen(LogExport(self.view.rows.shown, default_exports(os.environ)))
            return
        target = self.pane if BY_NAME[name].target is LogPane else self.view
        await self.run_action(name, BY_NAME[name].receiver(self.focused, target))

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        return not (action == "act" and isinstance(self.focused, Input))

    @property
    def view(self) -> LogView:
        return self.pane.query_one(LogView)

    @property
    def title_line(self) -> str:
        return str(self.pane.query_one(LogTitle).render())

    def log_lines(self, *lines: str, level: LogLevel = LogLevel.INFO, process: str = "p1") -> None:
        for text in lines:
            self.store.add(LogSource(process, LogStream.STDOUT), level, text)
        self.pane.add(self.store.pull(self.pane.end, self.store.end))

    def count(self, first: int, end: int) -> None:
        self.log_lines(*(f"line {number}" for number in range(first, end)))

    def shown(self) -> list[str]:
        """The rows in view, as painted, without columns and blanks."""
        height = self.view.scrollable_content_region.height
        return [self.view.render_line(y).text.rstrip()[31:] for y in range(height)]


@asynccontextmanager
async def host(
    capacity: int = 1000, size: tuple[int, int] = (80, 15)
) -> AsyncIterator[tuple[Host, Pilot[None]]]:
    app = Host(capacity)
    async with app.run_test(size=size) as pilot:
        app.view.focus()
        await pilot.pause()
        assert app.view.scrollable_content_region.height == size[1] - 4
        yield app, pilot


def numbered(first: int, end: int) -> list[str]:
    return [f"line {number}" for number in range(first, end)]
