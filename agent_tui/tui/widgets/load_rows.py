"""The list of loads on the generations page, and the facts and steps of one load."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath

from rich.cells import cell_len
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import VerticalScroll
from textual.events import Click
from textual.geometry import Region
from textual.message import Message
from textual.widgets import Static

from agent_tui.model.events import ProcessState
from agent_tui.model.reduce import LOADS
from agent_tui.model.state import AppState, JobView, LoadRecord, ProcessView
from agent_tui.tui.widgets import copyable
from agent_tui.tui.widgets.line_list import NO_MATCH
from agent_tui.tui.widgets.listing import Listing
from agent_tui.tui.widgets.log_text import clock
from agent_tui.tui.widgets.swap_text import took
from agent_tui.tui.widgets.text import (
    Line,
    Span,
    Tone,
    clip,
    counted,
    fact,
    grouped,
    milliseconds,
    one_line,
    pad,
    stopwatch,
    to_contents,
)

INDENT = 11
"""Cells before a fact's value."""

FILES_SHOWN = 6
JOBS_SHOWN = 3
BAR = 20
"""Width of the longest step's bar, in cells."""

EIGHTHS = " ▏▎▍▌▋▊▉"

STEPS = {
    "seen": "save seen",
    "read": "files read",
    "control": "process up",
    "load": "file loaded",
    "warm": "idle warm",
    "quiet": "quiet",
    "switch": "switched",
}


@dataclass(frozen=True, slots=True)
class Entry:
    """A row of the list: a finished load, or, if `record` is None, the running one."""

    number: int
    record: LoadRecord | None
    overtook: tuple[int, ...] = ()
    """The numbers of earlier loads that were cancelled by the save that started this one."""

    @property
    def key(self) -> tuple[int, bool | None]:
        """A unique key; a generation that failed after it had loaded has two rows."""
        return self.number, None if self.record is None else self.record.good


def entries(state: AppState) -> tuple[Entry, ...]:
    """Return the rows, newest first. A cancelled load has no row; the next one lists it in `overtook`."""
    found: list[Entry] = []
    last = 0 if len(state.loads) < LOADS else state.loads[0].number
    for record in state.loads:
        found.append(Entry(record.number, record, tuple(range(last + 1, record.number))))
        last = max(last, record.number)
    if (loading := state.generation.loading) > last:
        found.append(Entry(loading, None, tuple(range(last + 1, loading))))
    return tuple(reversed(found))


def short(path: str, state: AppState) -> str:
    """Return a path relative to the agent's folder, or its last folder and name; other text unchanged."""
    if "/" not in path:
        return path
    file, folder = PurePath(path), PurePath(state.agent).parent
    return str(file.relative_to(folder)) if file.is_relative_to(folder) else "/".join(file.parts[-2:])


# -- the list ---------------------------------------------------------------------------------------------


WIDE = 96
"""Minimum width for showing the start method in a row, in cells."""


@dataclass(frozen=True, slots=True)
class _Cells:
    """Cells of a row before the text that says what changed."""

    number: str
    state: str
    at: str
    took: str
    method: str
    jobs: str

    def text(self, width: int) -> str:
        method = f"  {self.method:<6}" if width >= WIDE else ""
        return f"{self.number:>4}  {self.state:<8}  {self.at:<8}  {self.took:>7}{method}  {self.jobs:<7}"


HEADING = _Cells("gen", "state", "at", "took", "start", "runs")


def heading(width: int) -> Line:
    """Return the heading above the rows."""
    line = f"   {HEADING.text(width)} what changed, or why it failed"
    return (Span(clip(line, width), Tone.DIM),)


def row(entry: Entry, state: AppState, width: int, *, selected: bool) -> Line:
    """Return a load in exactly `width` cells."""
    record = entry.record
    mark, word, _ = _status(entry, state)
    took = "" if record is None or record.seconds is None else milliseconds(record.seconds * 1000)
    jobs = len(_jobs(state, entry.number)) if record is not None and record.good else 0
    cells = _Cells(
        str(entry.number),
        word,
        "" if record is None else clock(record.ts, millis=False),
        took,
        record.start_method if record is not None and record.good else "",
        counted(jobs, "job") if jobs else "",
    )
    fixed = cells.text(width)
    tone = Tone.STRONG if selected else Tone.PLAIN
    is_old = jobs > 0 and entry.number != state.generation.current
    head, tail = fixed[: -len(f"{cells.jobs:<7}")], f"{cells.jobs:<7} "
    what, what_tone = _what(entry, state, max(width - 3 - len(fixed) - 1, 0))
    return (
        Span("▸ " if selected else "  ", tone),
        mark,
        Span(head, tone),
        Span(tail, Tone.WARN if is_old else tone),
        Span(what, what_tone or tone),
    )


def _what(entry: Entry, state: AppState, width: int) -> tuple[str, Tone | None]:
    """Return what changed, or why the load failed and where, in exactly `width` cells."""
    record = entry.record
    if record is None:
        return pad(one_line(short(state.generation.loading_cause, state)), width), None
    if not record.good:
        return pad(_failed(record, state, width), width), Tone.BAD
    if record.rolled_back_to:
        return pad(f"rolled back to {record.rolled_back_to}", width), None
    return pad(names([short(path, state) for path in record.changed or (record.cause,)], width), width), None


def _failed(record: LoadRecord, state: AppState, width: int) -> str:
    """Return the error, then its place; only the file's name if the path does not fit."""
    error = one_line(record.error)
    if not record.file:
        return error
    line = f":{record.line}" if record.line else ""
    path = one_line(short(record.file, state))
    whole = f"{error} · {path}{line}"
    return whole if cell_len(whole) <= width else f"{error} · {PurePath(path).name}{line}"


def names(paths: Sequence[str], width: int) -> str:
    """Return as many of the paths as fit in `width` cells, and how many more there are.

    A first path that does not fit is cut at its start: its end has the file's name.
    """
    paths = [one_line(path) for path in paths]
    for shown in range(len(paths), 0, -1):
        text = ", ".join(paths[:shown]) + _more(len(paths) - shown)
        if cell_len(text) <= width:
            return text
    more = _more(len(paths) - 1)
    return end_of(paths[0], width - len(more)) + more


def _more(count: int) -> str:
    return f" and {count} more" if count else ""


def end_of(path: str, width: int) -> str:
    """Return the end of a path that is longer than `width` cells."""
    if cell_len(path) <= width:
        return path
    kept = path
    while kept and cell_len(kept) > width - 1:
        kept = kept[1:]
    return f"…{kept}"


def _status(entry: Entry, state: AppState) -> tuple[Span, str, str]:
    """Return a load's mark, its state in a word, and its state as the end of a sentence."""
    record = entry.record
    if record is None:
        return Span("◌", Tone.WARN), "loading", "is loading"
    if not record.good:
        broken = any(each.good and each.number == record.number for each in state.loads)
        return Span("✗", Tone.BAD), "failed", "fails to start" if broken else "failed to load"
    if record.number == state.generation.current:
        return Span("●", Tone.GOOD), "current", "is current"
    return Span("✓", Tone.DIM), "replaced", "was replaced"


# -- facts ------------------------------------------------------------------------------------------------

Fact = tuple[str, str, Tone]
"""A label, its value, and its tone."""


def fact_lines(entry: Entry, state: AppState, now: float, width: int = 0) -> tuple[Line, ...]:
    """Return the facts about a load, without its steps. Width 0 does not wrap."""
    record = entry.record
    mark, _, what = _status(entry, state)
    took = ""
    if record is not None and record.seconds is not None:
        took = f" · took {milliseconds(record.seconds * 1000)}"
    head = (mark, Span(f" generation {entry.number}", Tone.STRONG), Span(f" {what}{took}"))
    facts = _facts(entry, state, now)
    return (head, *(line for name, value, tone in facts for line in fact(name, value, INDENT, width, tone)))


def _facts(entry: Entry, state: AppState, now: float) -> Iterator[Fact]:
    record = entry.record
    cause = state.generation.loading_cause if record is None else record.cause
    yield "trigger", _cause(cause, state), Tone.PLAIN
    if record is not None and record.rolled_back_to:
        yield _rolled_back(record, state)
    if record is not None and record.changed and record.changed != (record.cause,):
        yield "changed", _files(record.changed, state), Tone.PLAIN
    if entry.overtook:
        first, *rest = entry.overtook
        which = f"{first} to {rest[-1]}" if rest else f"{first}"
        yield "skipped", f"{which}: saved again while loading", Tone.PLAIN
    if record is None:
        return
    if record.good:
        yield "start", f"{record.start_method}: {record.start_reason}", Tone.PLAIN
    if processes := [each for each in state.live_processes if each.generation == record.number]:
        yield "memory", memory(processes), Tone.PLAIN
    for line, text in enumerate(took(record.number, state) if record.good else ()):
        yield ("" if line else "swapped"), text, Tone.PLAIN
    if record.good and (jobs := _jobs(state, record.number)):
        yield from _job_facts(jobs, now)


def _cause(cause: str, state: AppState) -> str:
    return f"{short(cause, state)} saved" if "/" in cause else cause


def _files(paths: tuple[str, ...], state: AppState) -> str:
    more = len(paths) - FILES_SHOWN
    shown = ", ".join(short(path, state) for path in paths[:FILES_SHOWN])
    return f"{shown} and {more} more" if more > 0 else shown


def _rolled_back(record: LoadRecord, state: AppState) -> Fact:
    same = f"same as generation {record.rolled_back_to}"
    if record.number != state.generation.current:
        return "code", same, Tone.PLAIN
    return "code", f"{same}, not the files on disk", Tone.WARN


def memory(processes: list[ProcessView]) -> str:
    """Return the total PSS of the processes, or else their USS or RSS, and the number of processes."""
    count = counted(len(processes), "process", "processes")
    for name in ("pss", "uss", "rss"):
        sizes = [getattr(each, f"{name}_mb") for each in processes]
        if all(size is not None for size in sizes):
            return f"{grouped(sum(sizes))} MB {name} in {count}{_by_state(processes)}"
    return f"not measured yet: {count}{_by_state(processes)}"


def _by_state(processes: list[ProcessView]) -> str:
    counts = ((ProcessState.JOB, "with a job"), (ProcessState.IDLE, "idle"))
    words = [
        f"{count} {word}"
        for state, word in counts
        if (count := sum(each.state is state for each in processes))
    ]
    return f" ({', '.join(words)})" if words else ""


def _jobs(state: AppState, number: int) -> list[JobView]:
    return [job for job in state.live_jobs if state.code_of(job) == number]


def _job_facts(jobs: list[JobView], now: float) -> list[Fact]:
    shown = [
        f"{one_line(job.id)} in {one_line(job.room)}, {stopwatch(now - job.offered)}"
        for job in jobs[:JOBS_SHOWN]
    ]
    if len(jobs) > JOBS_SHOWN:
        shown[-1] += f", and {len(jobs) - JOBS_SHOWN} more"
    return [("jobs" if number == 0 else "", text, Tone.PLAIN) for number, text in enumerate(shown)]


# -- steps ------------------------------------------------------------------------------------------------


def step_lines(record: LoadRecord, columns: int = 1) -> tuple[Line, ...]:
    """Return the steps with bars, `columns` per row; the longest step has a full bar."""
    taken = record.steps.measured
    most = max((ms for _, ms in taken), default=0.0) or 1.0
    width = BAR if columns == 1 else BAR // 5
    cells = [_step(name, ms, ms / most, width) for name, ms in taken]
    rows = [cells[first : first + columns] for first in range(0, len(cells), columns)]
    return tuple((Span("  "), *(span for cell in row for span in cell)) for row in rows)


def _step(name: str, ms: float, share: float, width: int) -> Line:
    return (
        Span(f"{STEPS[name]:<12}", Tone.DIM),
        Span(f"{bar(share, width):<{width}}", Tone.DIM),
        Span(f"{milliseconds(ms):>6}  "),
    )


def bar(share: float, width: int) -> str:
    """Return a bar for a share (0…1) of `width` cells; a share above 0 is always visible."""
    eighths = round(min(max(share, 0.0), 1.0) * width * 8)
    whole, rest = divmod(max(eighths, 1 if share > 0 else 0), 8)
    return "█" * whole + (EIGHTHS[rest] if rest else "")


EMPTY: Line = (Span("no load yet: each load of the agent file appears here", Tone.DIM),)


def _text_of(entry: Entry, state: AppState) -> str:
    """Return the text of an entry's row, with all changed files and the whole error."""
    more = (*entry.record.changed, entry.record.error) if entry.record is not None else ()
    return " ".join((*(span.text for span in row(entry, state, 400, selected=False)), *more))


class LoadList(VerticalScroll, Listing):
    """The list of loads, newest first; ↑ and ↓ select one, a click also opens it."""

    DEFAULT_CSS = """
    LoadList {
        scrollbar-size-vertical: 1;
        & > Static { height: auto; text-wrap: nowrap; text-overflow: ellipsis; }
    }
    """
    BINDINGS = [  # noqa: RUF012  the base class declares its type
        Binding("up,k", "select(-1)", show=False),
        Binding("down,j", "select(1)", show=False),
        Binding("home", "select(-1000)", show=False),
        Binding("end", "select(1000)", show=False),
    ]

    class Selected(Message):
        """The user selected another load."""

    class Opened(Message):
        """The user clicked a load."""

    def __init__(self, chosen: int | None = None, *, id: str | None = None) -> None:
        """`chosen` is the generation to select at first; None for the newest."""
        super().__init__(id=id)
        self._chosen = chosen
        self._entries: tuple[Entry, ...] = ()
        self._state = AppState()
        self._index = 0
        self._text = Static(markup=False)
        self._lines: tuple[Line, ...] = ()

    def compose(self) -> ComposeResult:
        yield self._text

    def on_resize(self) -> None:
        self._paint()

    @property
    def selected(self) -> Entry | None:
        return self._entries[self._index] if self._entries else None

    def show(self, state: AppState) -> None:
        """Show the state. If the newest load is selected, the selection moves to each newer one."""
        before = self.selected
        found = entries(state)
        self._state, self._entries = state, tuple(each for each in found if self.keeps(_text_of(each, state)))
        self.note_count(len(self._entries), len(found))
        if before is not None and self._index > 0:
            keys = [entry.key for entry in self._entries]
            self._index = keys.index(before.key) if before.key in keys else max(len(keys) - 1, 0)
        numbers = [entry.number for entry in self._entries]
        if self._chosen in numbers:
            self._index = numbers.index(self._chosen)
            self._chosen = None
        self._paint()

    def refilter(self) -> None:
        self.show(self._state)
        self.post_message(self.Selected())

    def copyable(self) -> Mapping[str, str]:
        return copyable.of_load(self.selected.record if self.selected is not None else None)

    def select_newest(self) -> None:
        """Select the newest load, and each newer one from now on."""
        self._select(0)

    def action_select(self, by: int) -> None:
        """Move the selection by that many rows."""
        self._select(self._index + by)

    def on_click(self, event: Click) -> None:
        place = event.get_content_offset(self)
        if place is not None:
            row = place.y + self.scroll_offset.y - 1  # below the heading
            if 0 <= row < len(self._entries):
                self._select(row)
                self.post_message(self.Opened())

    def _select(self, index: int) -> None:
        index = min(max(index, 0), max(len(self._entries) - 1, 0))
        if index != self._index:
            self._index = index
            self._paint()
            self.scroll_to_region(Region(0, index + 1 if index else 0, 1, 1), animate=False)
            self.post_message(self.Selected())

    def _paint(self) -> None:
        width = max(self.scrollable_content_region.width, 40)
        rows = tuple(
            row(entry, self._state, width, selected=number == self._index)
            for number, entry in enumerate(self._entries)
        )
        lines = (heading(width), *rows) if rows else (NO_MATCH if self.filter else EMPTY,)
        if lines != self._lines:
            same_height = len(lines) == len(self._lines)
            self._lines = lines
            self._text.update(to_contents(lines), layout=not same_height)
