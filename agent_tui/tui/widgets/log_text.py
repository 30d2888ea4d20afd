"""What stands in one row of the log pane, and in its title: pairs of a text and the part it plays."""

import re
import time
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from rich.cells import cell_len

from agent_tui.model.logs import LogLevel, LogLine
from agent_tui.model.state import AppState
from agent_tui.tui.widgets.log_rows import MAX_ROWS
from agent_tui.tui.widgets.text import clip, grouped, one_line, pad

HOST = "agent-tui"
OWNER_WIDTH = len(HOST)
LEVELS = (LogLevel.DEBUG, LogLevel.INFO, LogLevel.WARN, LogLevel.ERROR)


class Role(StrEnum):
    """What a piece of text is; each has a style of that name."""

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
    """Which columns there is room for. Wide panes align the further rows of a record under its text."""

    millis: bool = True
    owner: bool = True
    aligned: bool = True

    @property
    def prefix(self) -> int:
        """Cells before the text."""
        return 1 + (13 if self.millis else 9) + 6 + (OWNER_WIDTH + 2 if self.owner else 0)


def columns(width: int) -> Columns:
    """The columns for a pane so many cells wide: milliseconds go first, then the owner."""
    return Columns(millis=width >= 100, owner=width >= 60, aligned=width >= 100)


def next_level(level: LogLevel) -> LogLevel:
    """The level that `l` goes to: up to error, then from debug again."""
    return next((each for each in LEVELS if each > level), LEVELS[0])


def short_id(name: str) -> str:
    """An id from outside in at most nine cells."""
    return clip(one_line(name), OWNER_WIDTH)


def owner_of(line: LogLine) -> str:
    """Whose line it is: the job's short id, else the process's, else the host."""
    return short_id(line.job_id or line.source.process_id or HOST)


def clock(ts: float, millis: bool) -> str:
    """The local time of day. A child's stamp may be anything: what is no time is shown as none."""
    try:
        text = time.strftime("%H:%M:%S", time.localtime(ts))
        return text + f".{int(ts * 1000) % 1000:03d}" if millis else text
    except (ValueError, OverflowError, OSError):
        return "--:--:--.---" if millis else "--:--:--"


def row_parts(
    line: LogLine, part: int, layout: Columns, needle: str = "", *, selected: bool = False
) -> Parts:
    """One row of a line: the first with its columns, the others indented."""
    texts = line.text.rstrip("\n").split("\n")
    word, body = _ROLES[line.level]
    text = texts[part] if part < len(texts) else ""
    if part == MAX_ROWS - 1 and len(texts) > MAX_ROWS:
        return [
            (" " * _indent(layout), Role.MARK),
            (f"… {len(texts) - part} more lines, Enter shows all", Role.QUIET),
        ]
    mark = ("▸" if selected else " ", Role.MARK)
    if part:
        return [mark, (" " * (_indent(layout) - 1), Role.MARK), *found(text, body, needle)]
    owner = owner_of(line)
    return [
        mark,
        (clock(line.ts, layout.millis) + " ", Role.TIME),
        (line.level.name, word),
        (" " * (6 - len(line.level.name)), Role.MARK),
        *([(pad(owner, OWNER_WIDTH + 2), Role.OWNER)] if layout.owner else []),
        *found(text, body, needle),
    ]


def _indent(layout: Columns) -> int:
    return layout.prefix if layout.aligned else 5


def _pattern(needle: str) -> re.Pattern[str]:
    return re.compile(re.escape(needle), re.IGNORECASE if needle == needle.lower() else re.NOFLAG)


def match_place(line: LogLine, needle: str, layout: Columns) -> tuple[int, int, int]:
    """Where a line holds the text first: its row, and the cells there from and up to which it stands."""
    for part, text in enumerate(line.text.split("\n")[:MAX_ROWS]):
        if match := _pattern(needle).search(text):
            start = (_indent(layout) if part else layout.prefix) + cell_len(text[: match.start()])
            return part, start, start + cell_len(match.group())
    return 0, 0, 0


def found(text: str, role: Role, needle: str) -> Parts:
    """The text with what was looked for standing out."""
    if not needle:
        return [(text, role)]
    parts: Parts = []
    end = 0
    for match in _pattern(needle).finditer(text):
        parts += [(text[end : match.start()], role), (match.group(), Role.FOUND)]
        end = match.end()
    return [part for part in [*parts, (text[end:], role)] if part[0]]


def owner_label(owner: str | None, state: AppState | None) -> str:
    """The owner filter as people read it: a job with its room, a process with its pid."""
    if owner is None:
        return "all"
    name = short_id(owner) or HOST
    if state is not None and owner in state.jobs:
        return f"{name} {clip(one_line(state.jobs[owner].room), 24)}"
    if state is not None and owner in state.processes:
        return f"{name} pid {state.processes[owner].pid or '–'}"
    return name


@dataclass(frozen=True, slots=True)
class Title:
    """What the pane's title line tells."""

    level: LogLevel
    owner: str = "all"
    needle: str = ""
    only_matches: bool = False
    rank: int = 0
    found: int = 0
    follow: bool = True
    unseen: int = 0
    dropped: int = 0
    lines: int = 0


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of the title: what a click on it does, and when it goes (the highest first)."""

    name: str
    parts: tuple[tuple[str, Role], ...]
    goes: int


def title_pieces(title: Title, width: int) -> tuple[list[Piece], list[Piece]]:
    """The title's left and right pieces that fit into so many cells."""
    left = [
        Piece("", (("Logs", Role.TITLE),), 3),
        Piece("level", ((f"{title.level.label} ▾", Role.KEY),), 0),
        Piece("owner", ((title.owner if title.owner == "all" else f"{title.owner} ×", Role.KEY),), 4),
        Piece("find", tuple(_find(title)), 2),
    ]
    right = [
        Piece("", ((f"{grouped(title.lines)} lines", Role.QUIET),), 5),
        Piece("follow", tuple(_follow(title)), 0),
    ]
    if title.dropped:
        right.insert(0, Piece("", ((f"⚠ {grouped(title.dropped)} dropped", Role.WARN_WORD),), 1))
    for goes in (5, 4, 3, 2, 1):
        if _cells(left) + _cells(right) + 1 <= width:
            break
        left = [piece for piece in left if piece.goes != goes]
        right = [piece for piece in right if piece.goes != goes]
    return left, right


def _find(title: Title) -> Parts:
    if not title.needle:
        return [("/ ", Role.KEY), ("find", Role.QUIET)]
    needle = clip(one_line(title.needle), 20)
    count = f"{title.rank}/{title.found}" if title.rank else f"{title.found} found"
    only = " only" if title.only_matches else ""
    return [
        (f"/{needle}", Role.FOUND),
        (f" {count if title.found else 'not found'}{only}", Role.TEXT),
    ]


def _follow(title: Title) -> Parts:
    if title.follow:
        return [("● follow", Role.GOOD)]
    new = f"+{grouped(title.unseen)} new " if title.unseen else ""
    return [("‖ held ", Role.WARN_WORD), (new, Role.TEXT), (" f ", Role.KEY), ("follows", Role.QUIET)]


def _cells(pieces: Iterable[Piece]) -> int:
    return sum(3 + sum(cell_len(text) for text, _ in piece.parts) for piece in pieces)
