"""The breaches panel, and the texts of the breaches page: memory warnings and limit events, newest first."""

from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum

from textual import events
from textual.content import Content
from textual.style import Style

from agent_tui.model.child import MemoryMeasure
from agent_tui.model.events import MemoryWarned, ProcessState
from agent_tui.model.reduce import HISTORY
from agent_tui.model.state import AppState
from agent_tui.model.time_series import TimeSeries
from agent_tui.tui.widgets import copyable
from agent_tui.tui.widgets.line_list import LineList, Rows
from agent_tui.tui.widgets.log_text import clock
from agent_tui.tui.widgets.memory_plot import Levels, memory_lines
from agent_tui.tui.widgets.plot import Mark
from agent_tui.tui.widgets.text import (
    MUTED,
    Line,
    Span,
    Tone,
    clip,
    megabytes,
    one_line,
)

Breach = tuple[float, MemoryWarned]
"""Unix seconds and the event."""


class Kind(StrEnum):
    """Which breaches are shown."""

    ALL = "all"
    WARNINGS = "warnings"
    LIMITS = "limits"

    def has(self, warned: MemoryWarned) -> bool:
        """Return whether a breach is of this kind."""
        return self is Kind.ALL or warned.over_limit is (self is Kind.LIMITS)


class Order(StrEnum):
    """How breaches are sorted; the value is shown after the key."""

    NEWEST = "newest first"
    MEMORY = "by memory"
    PROCESS = "by process"

    @property
    def next(self) -> "Order":
        """The order that S selects."""
        orders = list(Order)
        return orders[(orders.index(self) + 1) % len(orders)]


_SORTED_BY: dict[Order, Callable[[tuple[str, Breach]], float]] = {
    Order.NEWEST: lambda row: -row[1][0],
    Order.MEMORY: lambda row: -row[1][1].used_mb,
    Order.PROCESS: lambda row: row[1][1].pid,
}


def shown(
    state: AppState, kind: Kind = Kind.ALL, order: Order = Order.NEWEST
) -> tuple[tuple[str, Breach], ...]:
    """Return the breaches of a kind, sorted (newest first if equal), by stable, unique keys."""
    seen: dict[str, int] = {}
    keyed: list[tuple[str, Breach]] = []
    for ts, warned in state.breaches:
        name = f"{ts} {warned.process_id}"
        seen[name] = seen.get(name, 0) + 1
        if kind.has(warned):
            keyed.append((f"{name} {seen[name]}", (ts, warned)))
    keyed.reverse()
    return tuple(sorted(keyed, key=_SORTED_BY[order]))


def choices(kind: Kind, order: Order, count: int, total: int) -> Content:
    """Return the line with the keys for kind and order (clickable) and the number of rows."""
    parts: list[Content] = []
    for key, each in (("a", Kind.ALL), ("w", Kind.WARNINGS), ("l", Kind.LIMITS)):
        style = "bold" if each is kind else MUTED
        mark = Content.styled("● " if each is kind else "  ", Tone.GOOD.value)
        click = Style.from_meta({"@click": f"screen.kind({each.value!r})"})
        parts.append((mark + Content.styled(f"{key} {each}", style)).stylize(click))
    sort = Content.styled(f"S {order}", MUTED).stylize(Style.from_meta({"@click": "screen.sort"}))
    return Content("   ").join([*parts, sort, Content.styled(f"{count} of {total}", MUTED)])


def breach_memory(breach: Breach, state: AppState, now: float, width: int, height: int) -> tuple[Line, ...]:
    """Return the memory graph of the breach's process, with a mark at each of its breaches."""
    chosen_ts, warned = breach
    process = state.processes.get(warned.process_id)
    job = state.jobs.get(warned.job_id) if warned.job_id else None
    series = process.memory if process is not None else job.memory if job is not None else TimeSeries()
    if not series.points:
        live = process is not None and process.state is not ProcessState.ENDED
        why = (
            "not measured yet"
            if live
            else f"no memory graph: only the last {HISTORY} ended processes are kept"
        )
        return ((Span(why, Tone.DIM),),)
    if process is None or process.state is ProcessState.ENDED:
        end = max(series.points[-1][0], process.since if process else 0.0, chosen_ts)
    else:
        end = now
    marks = [Mark(ts, Tone.DIM) for ts, each in state.breaches if each.process_id == warned.process_id]
    marks.append(Mark(chosen_ts, Tone.BAD if warned.over_limit else Tone.WARN))
    levels = Levels(warned.warn_mb, warned.limit_mb)
    start = series.points[0][0]
    return memory_lines(
        series, start, end, levels, width, height, marks=marks, write_time=lambda at: clock(at, millis=False)
    )


SHOWN = 50
"""Processes in the panel; the title counts all breaches."""


def breach_rows(state: AppState, order: Order = Order.NEWEST) -> Rows:
    """Return a row per process, in order: its newest (or largest) breach, and its number of breaches."""
    groups: dict[str, list[tuple[str, Breach]]] = {}
    for key, breach in shown(state, order=order):
        groups.setdefault(breach[1].process_id, []).append((key, breach))
    rows = [
        (group[0][0], _group_line([each for _, each in group], state))
        for group in list(groups.values())[:SHOWN]
    ]
    if len(groups) > SHOWN:
        rows.append(("", (Span(f"{len(groups) - SHOWN} more processes · B show all", Tone.DIM),)))
    return tuple(rows) or (("", (no_breaches(state),)),)


def _group_line(group: Sequence[Breach], state: AppState) -> Line:
    """Return the first breach of a process, preceded by the number of its breaches if there are several."""
    ts, warned = group[0]
    line = breach_line(ts, warned, state)
    return (Span(f"{len(group)}× ", Tone.STRONG), *line) if len(group) > 1 else line


def no_breaches(state: AppState) -> Span:
    """Return the text of the empty panel: what will appear, according to the limits in effect."""
    options = state.settings.options
    levels = (
        (options.job_memory_warn_mb, "warn"),
        (options.job_memory_limit_mb, "limit"),
    )
    over = " · ".join(f"{name} at {megabytes(mb)}" for mb, name in levels if mb > 0)
    return Span(f"No breaches · {over or 'jobMemoryWarnMB and jobMemoryLimitMB are off'}", Tone.DIM)


def breach_line(ts: float, warned: MemoryWarned, state: AppState) -> Line:
    """Return a breach: time, kind, room, memory used and allowed, growth, and pid."""
    job = state.jobs.get(warned.job_id) if warned.job_id else None
    where = clip(one_line(job.room if job else warned.job_id or ""), 24)
    allowed = warned.limit_mb if warned.over_limit else warned.warn_mb
    over = f" {warned.measure} {megabytes(warned.used_mb)} > {megabytes(allowed)}"
    figures = {MemoryMeasure.RSS: warned.rss_mb, MemoryMeasure.USS: warned.uss_mb}
    others = [
        f"{each} {megabytes(mb)}" for each, mb in figures.items() if each != warned.measure and mb is not None
    ]
    beside = f" ({', '.join(others)})" if others else ""
    limit = f", limit {megabytes(warned.limit_mb)}" if warned.limit_mb > 0 and not warned.over_limit else ""
    grown = warned.used_mb - warned.baseline_mb
    sign = "+" if grown >= 0 else "−"
    growth = f", {sign}{megabytes(abs(grown))} since start" if abs(grown) >= 0.5 else ""
    return (
        Span(clock(ts, millis=False), Tone.DIM),
        Span(" ✗ limit  ", Tone.BAD) if warned.over_limit else Span(" ⚠ warning", Tone.WARN),
        Span(f" {where or f'pid {warned.pid}, no job'}"),
        Span(over, Tone.STRONG),
        Span(f"{growth}{beside}{limit}{f', pid {warned.pid}' if where else ''}", Tone.DIM),
    )


class Breaches(LineList):
    """The breaches panel: the newest memory warnings and limit events; Enter opens the breaches page.

    While there is only one line to show, it has no border.
    """

    DEFAULT_CSS = """
    Breaches {
        height: auto;
        border: round $foreground 30%;
        border-title-color: $foreground;
        border-subtitle-color: $foreground-muted;
        padding: 0;
        background: $background;
        &:focus { border: round $accent; }
        &.-line { border: none; padding: 0 1; max-height: 1; }
        &.-line:focus { background: $boost; }
        & > .option-list--option-highlighted { background: transparent; }
    }
    """

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(facts=self._facts_of, id=id)
        self.compact = False  # its border separates it from the logs
        self.border_title = "Breaches"
        self._state = AppState()
        self._order = Order.NEWEST

    def on_mount(self) -> None:
        self.show(AppState(), 0.0)

    def show(self, state: AppState, now: float) -> None:
        """Show the breaches of the state."""
        if state is self._state:
            return
        self._state = state
        self.set_class(len({warned.process_id for _, warned in state.breaches}) <= 1, "-line")
        self._show_sorted()
        self.border_title = f"Breaches {len(state.breaches)}" if state.breaches else "Breaches"

    def _show_sorted(self) -> None:
        self.show_rows(breach_rows(self._state, self._order))
        sort = Content(f"S {self._order}").stylize(Style.from_meta({"sort": True}))
        self.border_subtitle = sort if self._state.breaches else ""

    def action_sort(self) -> None:
        """Switch to the next sort order: newest first, most memory first, or by process."""
        self._order = self._order.next
        self._show_sorted()

    def on_click(self, event: events.Click) -> None:
        if event.style.meta.get("sort"):
            event.stop()
            self.action_sort()

    def _facts_of(self, key: str) -> Mapping[str, str]:
        breach = dict(shown(self._state)).get(key)
        return copyable.of_breach(breach[1] if breach else None, self._state)
