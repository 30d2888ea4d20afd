"""The list of loads on the generations page, and what it says of each: steps, facts, changes and failure."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePath

from rich.cells import chop_cells
from textual.app import ComposeResult
from textual.binding import Binding
from textual.containers import VerticalScroll
from textual.events import Click
from textual.geometry import Region
from textual.message import Message
from textual.widgets import Static

from agent_tui.logs.sanitise import sanitise
from agent_tui.model.events import ProcessState
from agent_tui.model.reduce import LOADS
from agent_tui.model.state import AppState, JobView, LoadRecord, ProcessView
from agent_tui.tui.widgets.log_text import clock
from agent_tui.tui.widgets.text import (
    Line,
    Span,
    Tone,
    megabytes,
    milliseconds,
    one_line,
    pad,
    stopwatch,
    to_contents,
)

FILES_SHOWN = 6
JOBS_SHOWN = 3
BAR = 20
"""Cells of the longest step's bar."""

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
    """One row: a load that is over, or (without `record`) the one that is under way."""

    number: int
    record: LoadRecord | None
    overtook: tuple[int, ...] = ()
    """Loads that a later save ended before they were over; this is the one that it led to."""

    @property
    def key(self) -> tuple[int, bool | None]:
        """What tells it from others: a generation that is given up later has two rows."""
        return self.number, None if self.record is None else self.record.good


def entries(state: AppState) -> tuple[Entry, ...]:
    """Newest first. A load that was overtaken has no row, and is told where it went."""
    found: list[Entry] = []
    last = 0 if len(state.loads) < LOADS else state.loads[0].number
    for record in state.loads:
        found.append(Entry(record.number, record, tuple(range(last + 1, record.number))))
        last = max(last, record.number)
    if (loading := state.generation.loading) > last:
        found.append(Entry(loading, None, tuple(range(last + 1, loading))))
    return tuple(reversed(found))


def short(path: str, state: AppState) -> str:
    """A file as seen from the agent's folder, others by folder and name; words stay as they are."""
    if "/" not in path:
        return path
    file, folder = PurePath(path), PurePath(state.agent).parent
    return str(file.relative_to(folder)) if file.is_relative_to(folder) else "/".join(file.parts[-2:])


# -- the list ---------------------------------------------------------------------------------------------


def row(entry: Entry, state: AppState, width: int, *, selected: bool) -> Line:
    """One load in exactly `width` cells."""
    record = entry.record
    mark, _ = _standing(entry, state)
    method = "loading" if record is None else record.start_method if record.good else "failed"
    cause = state.generation.loading_cause if record is None else record.cause
    took = "" if record is None or record.seconds is None else milliseconds(record.seconds * 1000)
    jobs = len(_jobs(state, entry.number)) if record is not None and record.good else 0
    at = "" if record is None else clock(record.ts, millis=False)
    head = f"{entry.number:>4}  {at:<8}  "
    on_it = f"{jobs} job{'' if jobs == 1 else 's'}" if jobs else ""
    tail = f"  {took:>7}  {method:<8}  {on_it:<7}"
    tone = Tone.STRONG if selected else Tone.PLAIN
    return (
        Span("▸ " if selected else "  ", tone),
        mark,
        Span(head, tone),
        Span(pad(one_line(short(cause, state)), max(width - 3 - len(head) - len(tail), 0)), tone),
        Span(tail, tone),
    )


def _standing(entry: Entry, state: AppState) -> tuple[Span, str]:
    record = entry.record
    if record is None:
        return Span("◌", Tone.WARN), "loading"
    if not record.good:
        broken = any(each.good and each.number == record.number for each in state.loads)
        return Span("✗", Tone.BAD), "does not start" if broken else "does not load"
    if record.number == state.generation.current:
        return Span("●", Tone.GOOD), "serves"
    return Span("✓", Tone.GOOD), "was ready"


# -- what is known of one ---------------------------------------------------------------------------------


def fact_lines(entry: Entry, state: AppState, now: float) -> tuple[Line, ...]:
    """What is so of one load, but for the times of its steps."""
    record = entry.record
    mark, what = _standing(entry, state)
    if record is None:
        head: Line = (mark, Span(f" generation {entry.number}", Tone.STRONG), Span(" is loading"))
        return head, _fact("cause", _words(state.generation.loading_cause, state)), *_overtook(entry)
    took = "" if record.seconds is None else f", {milliseconds(record.seconds * 1000)} after the save"
    lines = [
        (mark, Span(f" generation {record.number}", Tone.STRONG), Span(f" {what}{took}")),
        _fact("cause", _words(record.cause, state)),
    ]
    if record.rolled_back_to:
        lines.append(_rolled_back(record, state))
    if record.changed and record.changed != (record.cause,):
        lines.append(_fact("changed", _files(record.changed, state)))
    lines += _overtook(entry)
    if record.good:
        lines.append(_fact("start", f"{record.start_method}: {record.start_reason}"))
    if processes := [each for each in state.live_processes if each.generation == record.number]:
        lines.append(_fact("memory", memory(processes)))
    if record.good and (jobs := _jobs(state, record.number)):
        lines += _job_lines(jobs, now)
    return tuple(lines)


def _fact(name: str, value: str, tone: Tone = Tone.PLAIN) -> Line:
    return Span(f"  {name:<9}", Tone.DIM), Span(one_line(value), tone)


def _words(cause: str, state: AppState) -> str:
    return f"{short(cause, state)} was saved" if "/" in cause else cause


def _files(paths: tuple[str, ...], state: AppState) -> str:
    more = len(paths) - FILES_SHOWN
    shown = ", ".join(short(path, state) for path in paths[:FILES_SHOWN])
    return f"{shown} and {more} more" if more > 0 else shown


def _rolled_back(record: LoadRecord, state: AppState) -> Line:
    if record.number != state.generation.current:
        return _fact("code", f"that of generation {record.rolled_back_to}")
    return _fact("code", f"that of generation {record.rolled_back_to}, not what is on disk", Tone.WARN)


def _overtook(entry: Entry) -> tuple[Line, ...]:
    if not entry.overtook:
        return ()
    first, *rest = entry.overtook
    which = f"{first} to {rest[-1]}" if rest else f"{first}"
    return (_fact("overtook", f"{which}, saved again while loading"),)


def memory(processes: list[ProcessView]) -> str:
    """The sum over processes of what can be added up (PSS), or else of USS or RSS, and how many they are."""
    count = f"{len(processes)} process{'' if len(processes) == 1 else 'es'}"
    for name in ("pss", "uss", "rss"):
        sizes = [getattr(each, f"{name}_mb") for each in processes]
        if all(size is not None for size in sizes):
            return f"{megabytes(sum(sizes))} {name} in {count}{_doing(processes)}"
    return f"not measured yet: {count}{_doing(processes)}"


def _doing(processes: list[ProcessView]) -> str:
    counts = ((ProcessState.JOB, "with a job"), (ProcessState.IDLE, "idle"))
    words = [
        f"{count} {word}"
        for state, word in counts
        if (count := sum(each.state is state for each in processes))
    ]
    return f" ({', '.join(words)})" if words else ""


def _jobs(state: AppState, number: int) -> list[JobView]:
    return [job for job in state.live_jobs if job.generation == number]


def _job_lines(jobs: list[JobView], now: float) -> list[Line]:
    shown = [
        f"{one_line(job.id)} in {one_line(job.room)}, {stopwatch(now - job.offered)}"
        for job in jobs[:JOBS_SHOWN]
    ]
    if len(jobs) > JOBS_SHOWN:
        shown[-1] += f", and {len(jobs) - JOBS_SHOWN} more"
    return [_fact("jobs" if number == 0 else "", text) for number, text in enumerate(shown)]


# -- steps ------------------------------------------------------------------------------------------------


def step_lines(record: LoadRecord, columns: int = 1) -> tuple[Line, ...]:
    """A bar for each step that there was, so many beside each other; the longest one's is whole."""
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
    """A bar as long as a share (0…1) of `width` cells; what is not nothing is to be seen."""
    eighths = round(min(max(share, 0.0), 1.0) * width * 8)
    whole, rest = divmod(max(eighths, 1 if share > 0 else 0), 8)
    return "█" * whole + (EIGHTHS[rest] if rest else "")


TRACE_LINES = 60
LONGEST = 2_000
"""Characters of one line that are shown."""

NOWHERE = "/dev/null"
IMPORTS = 'File "<frozen importlib.'
"""Frames of Python's own import system say nothing to anybody."""


_HUNK = re.compile(r"@@ -\d+(?:,(\d+))? \+(\d+)(?:,(\d+))? @@")
_TONES = {"+": Tone.GOOD, "-": Tone.GONE, "@": Tone.DIM, "f": Tone.STRONG, "=": Tone.WARN, " ": Tone.PLAIN}

Marked = tuple[str, str, int]
"""What a line of a diff is (`+`, `-`, ` `, `@` a place, `f` a file's name, `=` a remark), its text, and the
line of the new file that it stands at."""


def marked(diff: str) -> Iterator[Marked]:
    """The lines of a diff by what they are: a removed `-- x` is no file's name."""
    old = new = at = 0
    for line in diff.split("\n"):
        if (old > 0 or new > 0) and line[:1] in ("+", "-", " "):
            yield line[0], line, at
            old -= line[0] != "+"
            new -= line[0] != "-"
            at += line[0] != "-"
        elif found := _HUNK.match(line):
            old, new = int(found[1] or 1), int(found[3] or 1)
            at = int(found[2])
            yield "@", line, at
        elif line.startswith(("--- ", "+++ ")):
            yield "f", line, 0
        else:
            yield "=", line, 0


def diff_lines(diff: str, width: int) -> tuple[Line, ...]:
    """A diff with a blank line before each file; its first line sums it up."""
    lines: list[Line] = []
    for kind, text, _ in marked(diff):
        if kind == "f" and text.startswith("--- "):
            lines.append(())
        tone = _TONES[kind] if lines else Tone.STRONG
        lines += ((Span(each, tone),) for each in folded(text, width))
    return tuple(lines)


def folded(text: str, width: int) -> list[str]:
    """A line in as many rows as it takes; those after the first begin with its sign, and a mark."""
    clean = sanitise(text, LONGEST).replace("\n", " ")
    sign = clean[:1] if clean[:1] in ("+", "-") else " "
    first, *rest = chop_cells(clean, max(width, 8)) or [""]
    more = chop_cells("".join(rest), max(width - 3, 8)) if rest else []
    return [first, *(f"{sign}… {each}" for each in more)]


def first_change(diff: str) -> tuple[str, int] | None:
    """The first file that was changed and is still there, and the line of its first change."""
    name = ""
    for kind, text, at in marked(diff):
        if kind == "f" and text.startswith("+++ "):
            name = text.removeprefix("+++ ")
        elif kind in ("+", "-") and name not in ("", NOWHERE):
            return name, at
    return None


def failure_lines(record: LoadRecord, width: int) -> tuple[Line, ...]:
    """Why it failed, where, the line that did, and the traceback."""
    lines: list[Line] = [(Span(one_line(record.error), Tone.BAD),)]
    if record.file:
        place = f"{record.file}:{record.line}" if record.line else record.file
        lines.append((Span("at ", Tone.DIM), Span(one_line(place))))
    if source := failing_line(record):
        lines.append((Span("   ", Tone.DIM), Span(one_line(source), Tone.STRONG)))
    trace = [each for each in sanitise(record.traceback).split("\n") if each.strip() and IMPORTS not in each]
    if trace:
        lines.append(())
    if (more := len(trace) - TRACE_LINES) > 0:
        lines.append((Span(f"… {more} lines before", Tone.DIM),))
    lines += ((Span(row),) for each in trace[-TRACE_LINES:] for row in folded(each, width))
    return tuple(lines)


def failing_line(record: LoadRecord) -> str:
    """The text of the line that failed, as the traceback has it; empty if it has none."""
    lines = record.traceback.split("\n")
    at = f'File "{record.file}", line {record.line}'
    for number in range(len(lines) - 2, -1, -1):
        place = lines[number].strip()
        if place == at or place.startswith(f"{at},"):
            return lines[number + 1].strip()
    return ""


EMPTY: Line = (Span("nothing has been loaded yet", Tone.DIM),)


class LoadList(VerticalScroll):
    """Rows that ↑ and ↓ go over, newest first."""

    DEFAULT_CSS = """
    LoadList {
        scrollbar-size-vertical: 1;
        & > Static { height: auto; text-wrap: nowrap; text-overflow: ellipsis; }
    }
    """
    BINDINGS = [  # noqa: RUF012  the base class says what it is
        Binding("up,k", "select(-1)", show=False),
        Binding("down,j", "select(1)", show=False),
        Binding("home", "select(-1000)", show=False),
        Binding("end", "select(1000)", show=False),
    ]

    class Selected(Message):
        """Another load is the selected one."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
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
        """Takes the state. Whoever looks at the newest load goes on to the next one with it."""
        before = self.selected
        self._state, self._entries = state, entries(state)
        if before is not None and self._index > 0:
            keys = [entry.key for entry in self._entries]
            self._index = keys.index(before.key) if before.key in keys else len(keys) - 1
        self._paint()

    def select_newest(self) -> None:
        """Goes to the first row, and stays with the newest from there on."""
        self._select(0)

    def action_select(self, by: int) -> None:
        """Selects the row so many below."""
        self._select(self._index + by)

    def on_click(self, event: Click) -> None:
        place = event.get_content_offset(self)
        if place is not None:
            self._select(place.y + self.scroll_offset.y)

    def _select(self, index: int) -> None:
        index = min(max(index, 0), max(len(self._entries) - 1, 0))
        if index != self._index:
            self._index = index
            self._paint()
            self.scroll_to_region(Region(0, index, 1, 1), animate=False)
            self.post_message(self.Selected())

    def _paint(self) -> None:
        width = max(self.scrollable_content_region.width, 40)
        lines = tuple(
            row(entry, self._state, width, selected=number == self._index)
            for number, entry in enumerate(self._entries)
        ) or (EMPTY,)
        if lines != self._lines:
            same_height = len(lines) == len(self._lines)
            self._lines = lines
            self._text.update(to_contents(lines), layout=not same_height)
