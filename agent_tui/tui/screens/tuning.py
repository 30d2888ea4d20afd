"""The tuning page: a test load while it runs, or a sweep with its table, graphs, and advice."""

from collections.abc import Awaitable, Callable, Mapping
from enum import StrEnum
from typing import ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.widgets import Static

from agent_tui.model import commands as cmd
from agent_tui.model.state import AppState
from agent_tui.model.tuning import SweepResult, SweepView, TestLoadView
from agent_tui.tui.screens.confirm import Confirm
from agent_tui.tui.screens.page import BACK, FULL, Follower, TabbedPage
from agent_tui.tui.widgets import live_rows, sweep_rows
from agent_tui.tui.widgets.text import Line, Span, Tone, to_contents

CANCELLED = "cancelled"

Send = Callable[[cmd.Command], Awaitable[cmd.CommandResult]]

NOTHING: tuple[Line, ...] = (
    (Span("No test load or sweep yet", Tone.STRONG),),
    (),
    (Span("  b", Tone.STRONG), Span("  test load: many test jobs, and how long each takes to start.")),
    (Span("     + and - change numIdleProcesses while it runs; each value gets its own column,"),),
    (Span("     so you can compare them"),),
    (
        Span("  w", Tone.STRONG),
        Span("  sweep: the same load with different numbers of idle processes, and the"),
    ),
    (Span("     smallest number that is enough"),),
)


class Shown(StrEnum):
    """Whether the page shows a test load or a sweep."""

    LOAD = "load"
    SWEEP = "sweep"


NAMES = {Shown.LOAD: "Test load", Shown.SWEEP: "Sweep"}


class TuningPage(TabbedPage, Follower):
    """Shows the last load or sweep. Closing the page does not end it; x ends it, after a question."""

    DROP_PRIORITIES: ClassVar[Mapping[str, int]] = {"Scroll": 5, "Select count": 4, "Tabs": 3, "Idle": 2}
    DEFAULT_CLASSES = FULL
    DEFAULT_CSS = """
    TuningPage {
        layout: vertical;

        #tuning-box { width: 100%; height: 1fr; }
        #tuning-lines { width: 1fr; height: auto; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "close", BACK),
        Binding("T,q", "close", BACK, show=False),
        Binding("x", "end_run", "End"),
        Binding("b", "app.act('load')", "Test load…"),
        Binding("w", "app.act('sweep')", "Sweep…"),
        Binding("plus", "app.act('more_idle')", "Idle", key_display="+/-"),
        Binding("equals_sign", "app.act('more_idle')", show=False),
        Binding("minus", "app.act('less_idle')", show=False),
        Binding("a", "app.act('apply_advice')", "Apply advice"),
        Binding("tab", "step(1)", show=False),
        Binding("up", "choose(-1)", "Select count", key_display="↑/↓"),
        Binding("down", "choose(1)", show=False),
        Binding("j", "scroll(1)", show=False),
        Binding("k", "scroll(-1)", show=False),
        Binding("pagedown", "page(1)", "Scroll", key_display="PgDn"),
        Binding("pageup", "page(-1)", show=False),
        Binding("home", "page(-1000)", show=False),
        Binding("end", "page(1000)", show=False),
    ]

    def __init__(self, state: AppState, send: Send) -> None:
        super().__init__()
        self._send = send
        self._tuning = state.tuning
        self._wanted = state.settings.options.num_idle_processes
        self._now = 0.0
        self._shown = (
            Shown.LOAD if state.tuning.sweep is None or _runs(state.tuning.test_load) else Shown.SWEEP
        )
        self._selected: int | None = None
        self._painted = self._title = Content()
        self._offered: tuple[object, ...] = ()
        """The values that decide which keys are offered."""
        self._seen: tuple[object, ...] | None = None
        """The inputs of the painted lines.

        The lines are rebuilt only if these change, since that sorts all jobs.
        """

    def compose(self) -> ComposeResult:
        with VerticalScroll(id="tuning-box", classes="page-box", can_focus=False) as box:
            box.border_title = "Tuning"
            yield Static("", id="tuning-lines", markup=False)
        yield self.key_bar()

    def drop_priority(self, binding: Binding) -> int | None:
        sweep = self._tuning.sweep if self._shown is Shown.SWEEP else None
        unusable = {
            "end_run": not self._tuning.summary,
            "choose(-1)": sweep is None or not sweep.result.runs,
            "app.act('apply_advice')": not _applicable(sweep, self._wanted),
            "step(1)": len(self.tabs()) < 2,
        }
        return None if unusable.get(binding.action) else super().drop_priority(binding)

    def tabs(self) -> Mapping[str, str]:
        found = {Shown.LOAD: self._tuning.test_load, Shown.SWEEP: self._tuning.sweep}
        return {shown.value: NAMES[shown] for shown, view in found.items() if view is not None}

    @property
    def tab(self) -> str:
        return self._shown.value

    def show_tab(self, tab: str) -> None:
        self._shown = Shown(tab)
        self.paint()

    def on_mount(self) -> None:
        self.paint()

    def show(self, state: AppState, now: float) -> None:
        """Show the state. Switch to a load or sweep that has just started."""
        before, self._tuning, self._now = self._tuning, state.tuning, now
        self._wanted = state.settings.options.num_idle_processes
        if _started(self._tuning.test_load) != _started(before.test_load):
            self._shown = Shown.LOAD
        if _started(self._tuning.sweep) != _started(before.sweep):
            self._shown = Shown.SWEEP
        if self.is_mounted:
            self.paint()

    def on_resize(self) -> None:
        self.paint()

    def paint(self) -> None:
        """Paint the lines and the border if they changed."""
        box = next(iter(self.query("#tuning-box").results(VerticalScroll)), None)
        if box is None:
            return  # a state may come while the page is composed or closed
        width, height = box.scrollable_content_region.width, box.size.height
        if width <= 0:
            return
        second = int(self._now) if self._tuning.summary else 0  # while running, the time left changes
        seen = (self._tuning, self._shown, self._selected, self._wanted, width, height, second)
        if seen != self._seen:
            self._seen = seen
            content = to_contents(self.lines(width, height))
            if not content.is_same(self._painted):
                self._painted = content
                self.query_one("#tuning-lines", Static).update(content)
        self._paint_frame(box)

    def _paint_frame(self, box: VerticalScroll) -> None:
        """Update the border's title and subtitle."""
        now = self._tuning.summary
        title = self.tab_title() if self.tabs() else Content("Tuning")
        if not title.is_same(self._title):
            self._title = title
            box.border_title = title
        sweep = self._tuning.sweep
        offered = (
            bool(now),
            self._shown,
            len(self.tabs()),
            _applicable(sweep, self._wanted),
            sweep and bool(sweep.result.runs),
        )
        if offered != self._offered:
            self._offered = offered
            self.refresh_bindings()
        subtitle = f"{now} · numIdleProcesses {self._wanted}" if now else f"numIdleProcesses {self._wanted}"
        if box.border_subtitle != subtitle:
            box.border_subtitle = subtitle

    def lines(self, width: int, height: int) -> tuple[Line, ...]:
        """Return the lines of the page for `width` by `height` cells."""
        load, sweep = self._tuning.test_load, self._tuning.sweep
        if self._shown is Shown.SWEEP and sweep is not None:
            selected = self._count(sweep)
            return sweep_rows.lines(sweep, selected, self._wanted, width, height, self._now)
        if load is not None:
            return live_rows.lines(load, width, height)
        return NOTHING

    def _count(self, sweep: SweepView) -> int | None:
        """Return the selected count, or else the recommended one, or else the last measured one."""
        measured = sweep.result.measured
        if self._selected in measured:
            return self._selected
        if sweep.advice is not None and sweep.advice.count in measured:
            return sweep.advice.count
        return measured[-1] if measured else None

    def action_choose(self, by: int) -> None:
        """Select another count; scroll if there are no counts."""
        sweep = self._tuning.sweep if self._shown is Shown.SWEEP else None
        if sweep is None or not sweep.result.runs:
            self.action_scroll(by)
            return
        measured = sweep.result.measured
        at = measured.index(self._count(sweep) or measured[0])
        self._selected = measured[min(max(at + by, 0), len(measured) - 1)]
        self.paint()

    def on_click(self, event: events.Click) -> None:
        """Select the count whose row was clicked, or a tab."""
        super().on_click(event)
        text = self.query_one("#tuning-lines", Static)
        place, sweep = event.get_content_offset(text), self._tuning.sweep
        if place is None or sweep is None or self._shown is not Shown.SWEEP:
            return
        count = sweep_rows.count_at(sweep, place.y, text.size.width, self._now)
        if count is not None:
            self._selected = count
            self.paint()

    def action_scroll(self, lines: int) -> None:
        self.query_one("#tuning-box").scroll_relative(y=lines, animate=False)

    def action_page(self, pages: int) -> None:
        """Scroll by pages."""
        self.action_scroll(pages * max(self.query_one("#tuning-box").size.height - 1, 1))

    def action_close(self) -> None:
        self.dismiss(None)

    def action_end_run(self) -> None:
        """Ask whether to end the running load or sweep."""
        if running := self._tuning.summary:
            question = f"End the {running.rpartition(' ')[0]}?"
            detail = "The measurements so far are kept."
            self.app.push_screen(Confirm(question, detail, yes="End it", no="Keep running"), self._answered)
        else:
            self.notify("nothing is running", severity="error", markup=False)

    async def _answered(self, answer: bool | None) -> None:
        if answer:
            await self._send(cmd.StopTuning(CANCELLED))


def _applicable(sweep: SweepView | None, wanted: int) -> bool:
    """Return whether there is advice that is not applied yet; `wanted` is the current numIdleProcesses."""
    return sweep is not None and sweep.advice is not None and sweep.advice.count not in (None, wanted)


def _runs(load: TestLoadView | None) -> bool:
    return load is not None and load.running


def _started(view: TestLoadView | SweepView | None) -> float | None:
    match view:
        case TestLoadView(started=started) | SweepView(result=SweepResult(started=started)):
            return started
    return None
