"""The texts of the log pane's rows and title, as pairs of text and role."""

import time
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from rich.cells import cell_len

from agent_tui.model.logs import LogLevel, LogLine
from agent_tui.model.state import AppState
from agent_tui.tui.widgets.log_index import MAX_ROWS, SHORTEST_FOLD, line_count
from agent_tui.tui.widgets.log_query import NOTHING, Query
from agent_tui.tui.widgets.text import clip, counted, grouped, one_line, pad

HOST = "agent-tui"
OWNER_WIDTH = len(HOST)


class Role(StrEnum):
    """The role of a piece of text; each has a style of its name."""

    MARK = "mark"
    TIME = "time"
    OWNER = "owner"
    TEXT = "text"
    QUIET = "quiet"
    WARN = "warn"
    ERROR = "error"
    WARN_WORD = "warn-word"
    ERROR_WORD = "error-word"
    FOUND = "found"
    FOLD = "fold"
    TITLE = "title"
    KEY = "key"
    GOOD = "good"


ROW_ROLES = tuple(role for role in Role if role not in (Role.TITLE, Role.KEY, Role.GOOD))
TITLE_ROLES = (Role.TITLE, Role.KEY, Role.GOOD, Role.TEXT, Role.QUIET, Role.WARN_WORD, Role.FOUND)

Parts = list[tuple[str, Role]]

_ROLES = {
    LogLevel.TRACE: (Role.QUIET, Role.QUIET),
    LogLevel.DEBUG: (Role.QUIET, Role.QUIET),
    LogLevel.INFO: (Role.TEXT, Role.TEXT),
    LogLevel.WARN: (Role.WARN_WORD, Role.WARN),
    LogLevel.ERROR: (Role.ERROR_WORD, Role.ERROR),
    LogLevel.FATAL: (Role.ERROR_WORD, Role.ERROR),
}


@dataclass(frozen=True, slots=True)
class Columns:
    """The columns that fit. Wide panes align further rows of a record with its text."""

    millis: bool = True
    owner: bool = True
    aligned: bool = True

    @property
    def prefix(self) -> int:
        """Width of the columns before the text, in cells."""
        return 1 + (13 if self.millis else 9) + 6 + (OWNER_WIDTH + 2 if self.owner else 0)


def columns(width: int) -> Columns:
    """Return the columns for a width in cells; milliseconds are dropped first, then the owner."""
    return Columns(millis=width >= 100, owner=width >= 72, aligned=width >= 100)


def short_id(name: str) -> str:
    """Return an id from outside in at most nine cells."""
    return clip(one_line(name), OWNER_WIDTH)


def owner_of(line: LogLine) -> str:
    """Return a line's owner: the short id of its job, or else of its process, or else the host's name."""
    return short_id(line.job_id or line.source.process_id or HOST)


def clock(ts: float, millis: bool) -> str:
    """Return the local time of day; dashes for an invalid time, since processes send any timestamp."""
    try:
        text = time.strftime("%H:%M:%S", time.localtime(ts))
        return text + f".{int(ts * 1000) % 1000:03d}" if millis else text
    except (ValueError, OverflowError, OSError):
        return "--:--:--.---" if millis else "--:--:--"


def row_parts(
    line: LogLine,
    part: int,
    layout: Columns,
    query: Query = NOTHING,
    *,
    selected: bool = False,
    folded: bool = False,
) -> Parts:
    """Return one row of a record: the first with the columns, the others indented."""
    texts = line.text.rstrip("\n").split("\n")
    word, body = _ROLES[line.level]
    mark = ("▌" if selected else " ", Role.MARK)
    if part and folded:
        count = f"▸ {len(texts) - 2} lines  "
        return [mark, (_blank(layout), Role.MARK), (count, Role.FOLD), *found(texts[-1], body, query)]
    if part == MAX_ROWS - 1 and len(texts) > MAX_ROWS:
        more = f"… {counted(len(texts) - part, 'more line')} · Enter show all"
        return [mark, (_blank(layout), Role.MARK), (more, Role.QUIET)]
    text = texts[part] if part < len(texts) else ""
    if part:
        return [mark, *_margin(part, len(texts), layout), *found(text, body, query)]
    owner = owner_of(line)
    return [
        mark,
        (clock(line.ts, layout.millis) + " ", Role.TIME),
        (line.level.name, word),
        (" " * (6 - len(line.level.name)), Role.MARK),
        *([(pad(owner, OWNER_WIDTH + 2), Role.OWNER)] if layout.owner else []),
        *found(text, body, query),
    ]


def _indent(layout: Columns) -> int:
    return layout.prefix if layout.aligned else 5


def _blank(layout: Columns) -> str:
    """Return the blanks between the mark and the text of a further row."""
    return " " * (_indent(layout) - 1)


def _margin(part: int, count: int, layout: Columns) -> Parts:
    """Return the indent of a further row; the second row of a long record has the fold sign."""
    if part == 1 and count >= SHORTEST_FOLD:
        return [(_blank(layout)[2:], Role.MARK), ("▾ ", Role.FOLD)]
    return [(_blank(layout), Role.MARK)]


def fold_cells(line: LogLine, layout: Columns, *, folded: bool) -> range:
    """Return the cells of a record's second row that fold or unfold it when clicked."""
    count = line_count(line.text)
    if count < SHORTEST_FOLD:
        return range(0)
    start = _indent(layout)
    return range(start, start + len(f"▸ {count - 2} lines")) if folded else range(start - 2, start)


def match_place(line: LogLine, query: Query, layout: Columns) -> tuple[int, int, int]:
    """Return the first match in a line: its row (unfolded), and the cells where it starts and ends."""
    for part, text in enumerate(line.text.split("\n")[:MAX_ROWS]):
        for low, high in query.spans(text):
            start = (_indent(layout) if part else layout.prefix) + cell_len(text[:low])
            return part, start, start + cell_len(text[low:high])
    return 0, 0, 0


def found(text: str, role: Role, query: Query) -> Parts:
    """Return the text with the matches in the FOUND role."""
    parts: Parts = []
    end = 0
    for low, high in query.spans(text):
        parts += [(text[end:low], role), (text[low:high], Role.FOUND)]
        end = high
    return [part for part in parts if part[0]] + (
        [(text[end:], role)] if end < len(text) or not parts else []
    )


def owner_label(owner: str, state: AppState | None) -> str:
    """Return the label of an owner: a job with its room, a process with its pid."""
    name = short_id(owner) or HOST
    if state is not None and owner in state.jobs:
        return f"{name} {clip(one_line(state.jobs[owner].room), 24)}"
    if state is not None and owner in state.processes:
        return f"{name} pid {state.processes[owner].pid or '–'}"
    return name


@dataclass(frozen=True, slots=True)
class Chip:
    """A selected filter in the title, which a click removes: its name and its label."""

    name: str
    label: str


@dataclass(frozen=True, slots=True)
class Title:
    """The content of the title line."""

    level: LogLevel
    chips: tuple[Chip, ...] = ()
    needle: str = ""
    only_matches: bool = False
    rank: int = 0
    found: int = 0
    scanned: int | None = None
    """Progress of a scan in percent; None without one."""
    picked: int = 0
    """Number of lines in the selected range; 0 or 1 is no range."""
    follow: bool = True
    unseen: int = 0
    dropped: int = 0
    lines: int = 0


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of the title: the name that a click sends, its text, and its drop priority (highest first)."""

    name: str
    parts: tuple[tuple[str, Role], ...]
    drop_priority: int


def title_pieces(title: Title, width: int) -> tuple[list[Piece], list[Piece]]:
    """Return the title's left and right pieces that fit the width."""
    count = len(title.chips)
    chips = [Piece(chip.name, ((f"{chip.label} ×", Role.KEY),), 5) for chip in title.chips]
    short = Piece("filter", ((f"{counted(count, 'filter')} ▾", Role.KEY),), 0)
    left = [
        Piece("", (("Logs", Role.TITLE),), 4),
        Piece("filter", ((f"{title.level.label} ▾", Role.KEY),), 0),
        *(chips or [Piece("filter", (("all ▾", Role.KEY),), 3)]),
        Piece("find", tuple(_find(title)), 2 if title.needle or title.scanned is not None else 3),
    ]
    right = [
        Piece("", ((counted(title.lines, "line"), Role.QUIET),), 6),
        Piece("follow", tuple(_follow(title)), 0),
    ]
    if title.picked > 1:
        right[0] = Piece("copy", ((f"{grouped(title.picked)} selected ", Role.TEXT), ("y", Role.KEY)), 3)
    if title.dropped:
        right.insert(0, Piece("", ((f"⚠ {grouped(title.dropped)} dropped", Role.WARN_WORD),), 1))
    for priority in (6, 5, 4, 3, 2, 1):
        if _cells(left) + _cells(right) + 1 <= width:
            break
        if priority == 5 and chips:
            left.insert(left.index(chips[0]), short)
        left = [piece for piece in left if piece.drop_priority != priority]
        right = [piece for piece in right if piece.drop_priority != priority]
    return left, right


def _find(title: Title) -> Parts:
    progress = "" if title.scanned is None else f"{title.scanned}%"
    if not title.needle:
        return (
            [(f"filtering… {progress}", Role.TEXT)] if progress else [("/ ", Role.KEY), ("find", Role.QUIET)]
        )
    needle = clip(one_line(title.needle), 20)
    count = f"{title.rank}/{title.found}" if title.rank else counted(title.found, "match", "matches")
    only = " only" if title.only_matches else ""
    result = f"searching… {progress}" if progress else (count if title.found else "no match")
    return [(f"/{needle}", Role.FOUND), (f" {result}{only}", Role.TEXT)]


def _follow(title: Title) -> Parts:
    if title.follow:
        return [("● follow", Role.GOOD)]
    new = f"+{grouped(title.unseen)} new " if title.unseen else ""
    return [("‖ paused ", Role.WARN_WORD), (new, Role.TEXT), (" f ", Role.KEY), ("follow", Role.QUIET)]


def _cells(pieces: Iterable[Piece]) -> int:
    return sum(3 + sum(cell_len(text) for text, _ in piece.parts) for piece in pieces)
