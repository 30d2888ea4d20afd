"""The tuning page: a load while it runs, or a sweep with its table, curves and advice."""

from collections.abc import Callable
from enum import StrEnum
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.content import Content
from textual.widgets import Static

from agent_tui.tui.screens.confirm import Confirm
from agent_tui.tui.screens.page import Page
from agent_tui.tui.tuner import Tuner
from agent_tui.tui.widgets import live_rows, sweep_rows
from agent_tui.tui.widgets.key_bar import KeyBar
from agent_tui.tui.widgets.text import Line, Span, Tone, to_contents

PAINT_S = 0.25
CANCELLED = "cancelled"

NOTHING: tuple[Line, ...] = (
    (Span("Nothing is tuned yet.", Tone.STRONG),),
    (),
    (
        Span("  b", Tone.STRONG),
        Span("  makes a load of test jobs: a burst, steady, Poisson or a ramp; + and - change"),
    ),
    (Span("     numIdleProcesses meanwhile, and the figures before and after stand side by side"),),
    (
        Span("  w", Tone.STRONG),
        Span("  sweeps: the same load at several counts of idle processes, and says which is enough"),
    ),
)


class Shown(StrEnum):
    """What the page shows."""

    LOAD = "load"
    SWEEP = "sweep"


class TuningPage(Page[None]):
    """Shows what the tuner has. Closing it ends nothing; Esc asks whether what runs should end."""

    DEFAULT_CSS = """
    TuningPage {
        layout: vertical;
        background: $background;

        #tuning-box { width: 100%; height: 1fr; }
        #tuning-lines { width: 1fr; height: auto; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "back", "Close/end"),
        Binding("T,q", "close", "Close", show=False),
        Binding("b", "app.act('load')", "Load…"),
        Binding("w", "app.act('sweep')", "Sweep…"),
        Binding("plus,equals_sign", "app.act('more_idle')", "Idle", key_display="+/-"),
        Binding("minus", "app.act('less_idle')", show=False),
        Binding("a", "app.act('apply_advice')", "Apply advice"),
        Binding("tab", "other", "Load/sweep"),
        Binding("up", "choose(-1)", "Count", key_display="↑/↓"),
        Binding("down", "choose(1)", show=False),
        Binding("j", "scroll(1)", show=False),
        Binding("k", "scroll(-1)", show=False),
        Binding("pagedown", "scroll(10)", "Scroll", key_display="PgDn"),
        Binding("pageup", "scroll(-10)", show=False),
    ]

    def __init__(self, tuner: Tuner, wanted: Callable[[], int]) -> None:
        """`wanted` is numIdleProcesses as it is."""
        super().__init__()
        self._tuner, self._wanted = tuner, wanted
        self._shown: Shown | None = None
        self._selected: int | None = None
        self._painted = Content()
        self._seen: tuple[object, ...] | None = None
        """What a sweep's lines were made of: making them sorts all of its jobs."""

    def compose(self) -> ComposeResult:
        with VerticalScroll(id="tuning-box", classes="page-box", can_focus=False) as box:
            box.border_title = "Tuning"
            yield Static("", id="tuning-lines", markup=False)
        yield KeyBar()

    def on_mount(self) -> None:
        self.show_newest()
        self.set_interval(PAINT_S, self.paint)

    def show_newest(self) -> None:
        """Goes to what is under way."""
        tuner = self._tuner
        if tuner.current is not None:
            self._shown = Shown.LOAD if tuner.current is tuner.load else Shown.SWEEP
        elif self._shown is None:
            self._shown = Shown.SWEEP if tuner.sweep is not None else Shown.LOAD
        self.paint()

    def on_resize(self) -> None:
        self.paint()

    def paint(self) -> None:
        """Shows how things stand, if they differ from what is shown."""
        box = self.query_one("#tuning-box", VerticalScroll)
        width, height = box.scrollable_content_region.width, box.size.height
        if width <= 0:
            return
        if self._shown is Shown.SWEEP and self._tuner.sweep is not None:
            seen = (self._tuner.sweep.view, self._selected, self._wanted(), width, height)
        else:
            seen = None  # a load's clock runs
        if seen is None or seen != self._seen:
            self._seen = seen
            content = to_contents(self.lines(width, height))
            if not content.is_same(self._painted):
                self._painted = content
                self.query_one("#tuning-lines", Static).update(content)
        self._paint_frame(box)

    def _paint_frame(self, box: VerticalScroll) -> None:
        """What the border says."""
        now = self._tuner.summary
        title = f"Tuning · {now}" if now else "Tuning"
        if box.border_title != title:
            box.border_title = title
        subtitle = f"numIdleProcesses {self._wanted()}"
        if box.border_subtitle != subtitle:
            box.border_subtitle = subtitle

    def lines(self, width: int, height: int) -> tuple[Line, ...]:
        """What the page says."""
        tuner = self._tuner
        if self._shown is Shown.SWEEP and tuner.sweep is not None:
            view = tuner.sweep.view
            selected = self._count(view.result.measured)
            return sweep_rows.lines(view, selected, self._wanted(), width, height)
        if tuner.load is not None:
            return live_rows.lines(tuner.load.view, width, height)
        return NOTHING

    def _count(self, measured: tuple[int, ...]) -> int | None:
        """The selected count; without a choice the advised one, or the last that was measured."""
        if self._selected in measured:
            return self._selected
        advice = self._tuner.advice
        if advice is not None and advice.count in measured:
            return advice.count
        return measured[-1] if measured else None

    def action_choose(self, by: int) -> None:
        """Another count; where none is to be chosen the page scrolls."""
        sweep = self._tuner.sweep
        measured = sweep.view.result.measured if sweep is not None and self._shown is Shown.SWEEP else ()
        if not measured:
            self.action_scroll(by)
            return
        at = measured.index(self._count(measured) or measured[0])
        self._selected = measured[min(max(at + by, 0), len(measured) - 1)]
        self.paint()

    def action_other(self) -> None:
        """From the load to the sweep, and back."""
        if self._tuner.load is not None and self._tuner.sweep is not None:
            self._shown = Shown.LOAD if self._shown is Shown.SWEEP else Shown.SWEEP
            self.paint()

    def action_scroll(self, lines: int) -> None:
        self.query_one("#tuning-box").scroll_relative(y=lines, animate=False)

    def action_close(self) -> None:
        self.dismiss(None)

    def action_back(self) -> None:
        """Closes; while something runs it asks whether that should end."""
        current = self._tuner.current
        if current is None:
            self.dismiss(None)
            return
        question = f"End the {current.progress.partition(' ')[0]}?"
        detail = "What was measured so far is kept. To close the page and let it go on, press q instead."
        self.app.push_screen(Confirm(question, detail, yes="End it", no="Go on"), self._answered)

    def _answered(self, answer: bool | None) -> None:
        if answer:
            self._tuner.stop(CANCELLED)
            self.paint()
