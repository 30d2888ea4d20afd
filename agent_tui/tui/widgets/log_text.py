"""The texts of log lines: their rows in the pane as pairs of text and role, whole records, and times."""

import json
import math
import re
import time
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from rich.cells import cell_len

from agent_tui.model.child import ProcessKind
from agent_tui.model.logs import LogLevel, LogLine
from agent_tui.model.state import AppState
from agent_tui.tui.widgets.log_filter import HOST, NOTHING, OWNER_WIDTH, Query, short_id
from agent_tui.tui.widgets.log_rows import (
    MAX_ROWS,
    SHORTEST_FOLD,
    fold_mark,
    line_count,
    row_slices,
    shown_lines,
)
from agent_tui.tui.widgets.text import clip, counted, one_line, pad

WIDE, WIDE_OWNER = 100, 18
"""The width from which panes have all columns, and the cells of the owner there."""

TEXT_LEAST = 40
"""Cells of the text that narrower panes keep free: columns become shorter, then the owner is dropped."""

OWNER_LEAST = 8
LEVEL, LETTER = 6, 2
"""Cells of the level as a word and as a letter, each with a blank."""


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
    LogLevel.INFO: (Role.QUIET, Role.TEXT),
    LogLevel.WARN: (Role.WARN_WORD, Role.WARN),
    LogLevel.ERROR: (Role.ERROR_WORD, Role.ERROR),
    LogLevel.FATAL: (Role.ERROR_WORD, Role.ERROR),
}


@dataclass(frozen=True, slots=True)
class Columns:
    """The columns that fit. Wide panes align further rows of a record with its text."""

    millis: bool = True
    owner: int = OWNER_WIDTH
    """Cells of the owner's name; 0 for none."""
    level: int = LEVEL
    aligned: bool = True

    @property
    def prefix(self) -> int:
        """Width of the columns before the text, in cells."""
        return 1 + (13 if self.millis else 9) + self.level + (self.owner + 2 if self.owner else 0)


def columns(width: int, *, wrap: bool = False) -> Columns:
    """Return the columns for a width in cells.

    Narrow panes drop milliseconds, then all of the level but its first letter, then the end of the owner's
    name, then the owner.
    """
    if width >= WIDE:
        return Columns(owner=WIDE_OWNER)
    for level, least in ((LEVEL, OWNER_WIDTH), (LETTER, OWNER_LEAST)):
        bare = Columns(millis=False, owner=0, level=level, aligned=wrap)
        if (room := width - TEXT_LEAST - bare.prefix - 2) >= least:
            return replace(bare, owner=min(room, OWNER_WIDTH))
    return replace(bare, level=LEVEL if width >= TEXT_LEAST + bare.prefix + LEVEL - LETTER else LETTER)


def owner_of(line: LogLine, state: AppState | None = None) -> str:
    """Return a line's owner: its job's room, or else what its process is, or the host's name.

    For a job or process that the state does not have, it is the id.
    """
    job_id, process_id = line.job_id, line.source.process_id
    job = state.jobs.get(job_id) if state is not None and job_id else None
    if job is not None and (room := one_line(job.room)):
        return room
    process = state.processes.get(process_id) if state is not None and not job_id else None
    if process is not None and process.kind is not ProcessKind.JOB:
        return process.kind.value
    return short_id(job_id or process_id or HOST)


def clock(ts: float, millis: bool) -> str:
    """Return the local time of day; dashes for an invalid time, since a process can send any timestamp."""
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
    wrap: int = 0,
    state: AppState | None = None,
) -> Parts:
    """Return one row of a record: the first with the columns, the others indented.

    `state` supplies the names of processes and rooms.
    """
    texts = shown_lines(line.text, folded=folded)
    rows = row_slices(line.text, folded=folded, wrap=wrap) if wrap else ()
    if rows:
        number, start, end = rows[min(part, len(rows) - 1)]
    else:
        number = min(part, len(texts) - 1)
        start, end = 0, len(texts[number])
    word, body = _ROLES[line.level]
    mark: Parts = [("▌" if selected else " ", Role.MARK)]
    if part == MAX_ROWS - 1 and (number, end) != (len(texts) - 1, len(texts[-1])):
        more = f"… {counted(len(texts) - number, 'more line')} · Enter show all"
        return [*mark, (_blank(layout), Role.MARK), (more, Role.QUIET)]
    sign = fold_mark(line_count(line.text)) if folded and number == 1 and is_long(line) else ""
    text = found(texts[number].removeprefix(sign), body, query)
    body_parts = _cut([(sign, Role.FOLD), *text] if sign else text, start, end)
    if part:
        return [*mark, *_margin(line, number, start, layout, folded=folded), *body_parts]
    owner = pad(clip(owner_of(line, state), layout.owner), layout.owner + 2)
    name = line.level.name[: layout.level - 1]
    return [
        *mark,
        (clock(line.ts, layout.millis) + " ", Role.TIME),
        (name, word),
        (" " * (layout.level - len(name)), Role.MARK),
        *([(owner, Role.OWNER)] if layout.owner else []),
        *body_parts,
    ]


def _cut(parts: Parts, start: int, end: int) -> Parts:
    """Return the parts from one character to another."""
    cut: Parts = []
    at = 0
    for text, role in parts:
        piece = text[max(start - at, 0) : max(end - at, 0)]
        at += len(text)
        if piece:
            cut.append((piece, role))
    return cut or [("", parts[-1][1])]


def is_long(line: LogLine) -> bool:
    """Return whether a record is long enough to fold."""
    return line_count(line.text) >= SHORTEST_FOLD


def indent(part: int, layout: Columns) -> int:
    """Return the cells before the text of a record's row."""
    return layout.prefix if layout.aligned or not part else 5


def _blank(layout: Columns) -> str:
    """Return the blanks between the mark and the text of a further row."""
    return " " * (indent(1, layout) - 1)


def _margin(line: LogLine, number: int, start: int, layout: Columns, *, folded: bool) -> Parts:
    """Return the indent of a further row; the second line of an unfolded long record has the fold sign."""
    if (number, start) == (1, 0) and not folded and is_long(line):
        return [(_blank(layout)[2:], Role.MARK), ("▾ ", Role.FOLD)]
    return [(_blank(layout), Role.MARK)]


def fold_cells(line: LogLine, part: int, layout: Columns, *, folded: bool, wrap: int = 0) -> range:
    """Return the cells of a record's row that fold or unfold it when clicked; most rows have none."""
    slices = row_slices(line.text, folded=folded, wrap=wrap)
    if not is_long(line) or part >= len(slices) or slices[part][:2] != (1, 0):
        return range(0)
    start = indent(1, layout)
    mark = fold_mark(line_count(line.text)).rstrip()
    return range(start, start + len(mark)) if folded else range(start - 2, start)


def match_place(line: LogLine, query: Query, layout: Columns, *, wrap: int = 0) -> tuple[int, int, int]:
    """Return the first match in a line: its row (unfolded), and the cells where it starts and ends."""
    texts = shown_lines(line.text)
    for part, (number, start, end) in enumerate(row_slices(line.text, wrap=wrap)):
        for low, high in query.spans(texts[number]):
            if start <= low < end:
                cell = indent(part, layout) + cell_len(texts[number][start:low])
                return part, cell, cell + cell_len(texts[number][low:high])
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


# -- whole records as text ---------------------------------------------------------------------------------


def as_text(line: LogLine) -> str:
    """Return a record as text: date, level, owner, text; further lines of the record follow unchanged."""
    owner = line.job_id or line.source.process_id or HOST
    logger = f"{line.logger}: " if line.logger else ""
    stamp = f"{date(line.ts)}{clock(line.ts, millis=True)}"
    return f"{stamp} {line.level.name:<5} {owner} {logger}{line.text.rstrip()}"


def as_json(line: LogLine) -> str:
    """Return a record as a JSON object with the fields of the `log` event."""
    body: dict[str, Any] = {
        "event": "log",
        "ts": round(line.ts, 6) if math.isfinite(line.ts) else None,
        "level": line.level.label,
        "source": f"{line.source.process_id}:{line.source.stream}",
        "job_id": line.job_id,
        "generation": line.generation or None,
        "text": line.text,
    }
    body |= {"logger": line.logger} if line.logger else {}
    body |= {"fields": _finite(line.fields)} if line.fields else {}
    return json.dumps(body, ensure_ascii=False, default=str)


def _finite(value: Any) -> Any:
    """Replace infinity and NaN by None, because JSON has neither."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {name: _finite(each) for name, each in value.items()}
    return [_finite(each) for each in value] if isinstance(value, list) else value


def date(ts: float) -> str:
    """Return the local date with a trailing space; empty for an invalid time."""
    try:
        return time.strftime("%Y-%m-%d ", time.localtime(ts))
    except (ValueError, OverflowError, OSError):
        return ""


# -- times that users type ---------------------------------------------------------------------------------

UNITS = {"ms": 0.001, "": 1.0, "s": 1.0, "m": 60.0, "h": 3_600.0, "d": 86_400.0}
EXAMPLES = "12:04:31, 10:15, -30s, or +2m"
DAY_S = 86_400

_STEP = re.compile(r"([+-])\s*(\d{1,9}(?:\.\d{1,6})?)\s*(ms|[smhd]?)", re.ASCII)
_CLOCK = re.compile(r"(\d{1,2}):(\d{2})(?::(\d{2})(?:[.,](\d{1,6}))?)?", re.ASCII)


def parse_time(typed: str, here: float, oldest: float, newest: float) -> float:
    """Parse a time of day or a step; return Unix seconds. Raises ValueError.

    A step is relative to the current line (`here`). A time of day is on the newest line's day; if that is
    after the newest line and the lines reach back far enough, it is on the day before.
    """
    typed = typed.strip()
    if step := _STEP.fullmatch(typed):
        sign, number, unit = step.groups()
        return here + float(sign + number) * UNITS[unit]
    if not (match := _CLOCK.fullmatch(typed)):
        raise ValueError(f"not a time: enter {EXAMPLES}")
    hour, minute, second = (int(part or 0) for part in match.groups()[:3])
    if hour > 23 or minute > 59 or second > 59:
        raise ValueError(f"{match.group()} is not a time of day")
    fraction = float(f"0.{match.group(4) or 0}")
    at = _on_day(newest, hour, minute, second) + fraction
    before = _on_day(newest - DAY_S, hour, minute, second) + fraction
    return before if at > newest and before >= oldest else at


def _on_day(ts: float, hour: int, minute: int, second: int) -> float:
    try:
        day = time.localtime(ts)
        return time.mktime((day.tm_year, day.tm_mon, day.tm_mday, hour, minute, second, 0, 0, -1))
    except (ValueError, OverflowError, OSError):
        raise ValueError("the newest line has no valid time") from None
