"""Restores the UI state when the screen starts, and saves it when the user has changed it."""

import asyncio
import contextlib
import threading
from dataclasses import replace as with_fields
from pathlib import Path
from typing import TYPE_CHECKING

from msgspec.structs import replace

from agent_tui.model.logs import LogLevel
from agent_tui.tui.ui_state import UiState, read_ui_state, write_ui_state
from agent_tui.tui.widgets.detail import Detail
from agent_tui.tui.widgets.log_pane import LogPane
from agent_tui.tui.widgets.problems import NO_SPACE
from agent_tui.tui.widgets.processes import Processes
from agent_tui.tui.widgets.splits import Split, SplitBody
from agent_tui.tui.widgets.table import Order
from agent_tui.tui.widgets.text import project_path

if TYPE_CHECKING:
    from agent_tui.tui.app import AgentTuiApp

PAUSE_S = 1.0
"""Time between two looks at the screen. A change is saved once it is the same at both."""

PROCESSES, JOBS = "processes", "jobs"
"""The names of the tables whose order is remembered."""


class UiStateKeeper:
    """Keeps the UI state of an app. Without a file, it is remembered until the app ends."""

    def __init__(self, app: "AgentTuiApp", path: Path | None) -> None:
        """Read the file. One that cannot be used is ignored, and `restore` notifies the user why."""
        self._app = app
        self._path = path
        self._problem = ""
        self.state = UiState()
        """The state as last seen."""
        if path is not None:
            try:
                self.state = read_ui_state(path)
            except (OSError, ValueError) as error:
                self._problem = f"layout not restored: {_why(error)} · {project_path(str(path))}"
        self._saved = self._before = self.state
        self._theme: str | None = None
        self._lock = threading.Lock()

    def order_of(self, table: str) -> Order:
        """Return the sort order of a table's rows."""
        return self.state.sort.get(table, Order())

    def keep_order(self, table: str, order: Order) -> None:
        """Remember the order of a table."""
        others = {name: each for name, each in self.state.sort.items() if name != table}
        self.state = replace(self.state, sort={**others, table: order} if order.column else others)

    def restore(self) -> None:
        """Apply the state to the dashboard, and save it from now on.

        The app has already applied the theme, because a theme set in `[screen]` takes precedence.
        """
        app, state = self._app, self.state
        app.panel(SplitBody).shares = {each: state.splits[each] for each in Split if each in state.splits}
        app.panel(Processes).order = self.order_of(PROCESSES)
        if app.panel(Detail).tab is not state.tab:
            app.panel(Detail).tab = state.tab
        pane = app.panel(LogPane)
        if state.log_wrap:
            pane.wrap = True
        if state.log_level is not None:
            pane.chosen = with_fields(pane.chosen, level=LogLevel[state.log_level.upper()])
        self._theme = app.theme
        if self._problem:
            app.notify_line(self._problem, failed=True)
        app.set_interval(PAUSE_S, self.look)

    def look(self) -> None:
        """Note what the user has changed, and save it after a pause."""
        self._collect()
        before, self._before = self._before, self.state
        if self._path is not None and self.state == before and self.state != self._saved:
            self._saved = self.state
            self._app.run_worker(self._save(self._path, self.state), group="ui state")

    def close(self) -> None:
        """Save what has changed since the last look. The screen is closing, so an error has no place."""
        self._collect()
        if self._path is not None and self.state != self._saved:
            self._saved = self.state
            with contextlib.suppress(OSError):
                self._write(self._path, self.state)

    def _collect(self) -> None:
        app = self._app
        if self._theme is None:
            return  # not restored yet
        if app.theme != self._theme:
            self._theme = app.theme
            self.state = replace(self.state, theme=app.theme)
        self.keep_order(PROCESSES, app.panel(Processes).order)
        pane = app.panel(LogPane)
        level = pane.chosen.level
        self.state = replace(
            self.state,
            tab=app.panel(Detail).tab,
            splits={str(split): share for split, share in app.panel(SplitBody).shares.items()},
            log_level=None if level is None else level.label,
            log_wrap=pane.wrap,
        )

    async def _save(self, path: Path, state: UiState) -> None:
        try:
            await asyncio.to_thread(self._write, path, state)
        except OSError as error:
            if error.errno not in NO_SPACE:
                self._path = None  # one notice is enough
            self._app.saved("layout", path, error)
        else:
            self._app.saved("layout", path)

    def _write(self, path: Path, state: UiState) -> None:
        with self._lock:
            if state is self._saved:  # or else a newer one was, or will be, written
                write_ui_state(path, state)


def _why(error: Exception) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)
