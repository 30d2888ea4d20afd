"""The current problems: the cause, what it means, and what to do. A pure function of the state."""

import errno
import math
import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from rich.cells import cell_len

from agent_tui.model.dispatches import exposure
from agent_tui.model.events import EndedBy, ProcessState
from agent_tui.model.logs import LogLevel
from agent_tui.model.state import AppState, JobPhase, JobView, ProcessView, RegistrationState
from agent_tui.options.declare import ServerOptions
from agent_tui.options.urls import shown_url
from agent_tui.tui.widgets.source import failing_place, without_libraries
from agent_tui.tui.widgets.text import (
    Line,
    Span,
    Tone,
    clip,
    counted,
    duration,
    megabytes,
    one_line,
    project_path,
    width_of,
    wrapped,
)

MEMORY_SHOWN_S = 60.0
"""How long the end of a job by its memory limit is shown, in s; the breaches panel keeps it."""

BLOCKED_AFTER_S = 3.0
"""An event loop that is blocked for less than this, in s, is shown only in the process table."""

CONNECTED_WITHIN_S = 10.0
"""After this time, in s, the SDKs warn about an entry function that has not connected."""

NO_SPACE = (errno.ENOSPC, errno.EDQUOT)
FREE_SPACE = "delete files on that disk, or raise the quota"
_NO_SPACE_TEXT = tuple(os.strerror(number) for number in NO_SPACE)

_MAIN_THREAD = re.compile(r"^Thread MainThread:\n(?:.+\n?)*", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Problem:
    """A problem. `id` differs for each occurrence, so that a hidden problem can come back.

    `cause`: why, or what happened. `place` is file and line as text, `source` that line. `effect`: what still
    works and what does not. `keys` are hints (`r retry`). `e` opens `file` at `line`. `trace` may have many
    lines.
    """

    id: str
    cause: str
    effect: str
    todo: str
    keys: str = ""
    place: str = ""
    source: str = ""
    is_error: bool = True
    file: str | None = None
    line: int | None = None
    trace: str = ""

    @property
    def sign(self) -> Span:
        return Span("✗ ", Tone.BAD) if self.is_error else Span("⚠ ", Tone.WARN)


def problems_title(found: Sequence[Problem]) -> str:
    """Return the number of problems; its sign distinguishes errors from warnings even without color."""
    is_error = any(each.is_error for each in found)
    return f"{'✗' if is_error else '⚠'} {counted(len(found), 'problem')}"


def problems(state: AppState, now: float, options: ServerOptions) -> tuple[Problem, ...]:
    """Return the current problems, the most urgent first; `now` is in Unix seconds."""
    if state.stopping:
        return ()
    return tuple(each for find in _FINDERS for each in find(state, now, options))


def _file(state: AppState, now: float, options: ServerOptions) -> Iterator[Problem]:
    generation = state.generation
    if not generation.is_broken or generation.failed == generation.current:
        return
    edit = _edit_key(generation.line if generation.file else None)
    current = generation.current
    yield Problem(
        f"file {generation.failed}",
        generation.error or "no reason given",
        f"generation {current} still accepts new jobs" if current else "no jobs can run",
        generation.todo or (FREE_SPACE if _is_full(generation.error) else "fix it and save"),
        f"{edit} · g details" if current else f"{edit} · {_retry(state)}",
        _place(state, generation.file or state.agent, generation.line),
        _source(generation.file, generation.line, generation.traceback),
        file=generation.file,
        line=generation.line,
        trace=_trace(generation.traceback),
    )


def _starts(state: AppState, now: float, options: ServerOptions) -> Iterator[Problem]:
    starts, generation = state.starts, state.generation
    if not starts.is_failing or generation.loading > generation.current:  # new code may start
        return
    jobs = "accepted jobs wait" if starts.accepting else "offers are refused until a start succeeds"
    todo = "fix it and save"
    if starts.todo:
        todo = starts.todo
    elif starts.ended_by is EndedBy.INIT_TIMEOUT:
        todo = "load less, or raise initializeProcessTimeout (E options)"
    elif _is_full(starts.error):
        todo = FREE_SPACE
    elif starts.ended_by is EndedBy.NO_PROCESS:
        todo = "free memory, processes, or file descriptors on this machine"
    retry = starts.next_attempt(now)
    yield Problem(
        f"starts {starts.generation}",
        starts.error or "no reason given",
        f"processes of generation {starts.generation} fail to start · {retry} · {jobs}",
        todo,
        f"{_edit_key(starts.line if starts.file else None)} · {_retry(state)}",
        _place(state, starts.file, starts.line) if starts.file else "",
        _source(starts.file, starts.line, starts.traceback),
        file=starts.file,
        line=starts.line,
        trace=_trace(starts.traceback),
    )


def _edit_key(line: int | None) -> str:
    return "e edit line" if line else "e edit"


def _is_full(error: str) -> bool:
    """Return whether an error says that a disk is full."""
    return any(text in error for text in _NO_SPACE_TEXT)


def no_space(what: str, path: str, error: OSError) -> Problem:
    """Return the problem that the screen could not write a file because the disk is full."""
    why = (error.strerror or str(error)).lower()
    return Problem(f"disk {what}", f"{why}: {what} not saved", "", f"{FREE_SPACE} · {path}")


def _failures(state: AppState, now: float, options: ServerOptions) -> Iterator[Problem]:
    """Yield failures of jobs and of their sessions, the newest first: a missing key, a refused connection."""
    for failure in reversed([*state.failures.values()]):
        count = f"{failure.count}× " if failure.count > 1 else ""
        component = f"{failure.component.upper()}: " if failure.component else ""
        job = state.jobs.get(failure.job_id)
        room = job.room if job else failure.job_id
        where = counted(failure.jobs, "job") if failure.jobs > 1 else room
        yield Problem(
            f"failure {failure.component} {failure.cause} {failure.since}",
            f"{count}{component}{failure.cause}",
            f"failed in {where}" if failure.component else f"job failed: {where}",
            failure.todo,
        )


def _server(state: AppState, now: float, options: ServerOptions) -> Iterator[Problem]:
    worker = state.worker
    running = sum(job.phase is JobPhase.RUNNING for job in state.jobs.values())
    effect = "not registered: no new jobs"
    if running:
        effect += f"; {counted(running, 'running job')} {'continues' if running == 1 else 'continue'}"
    match worker.state:
        case RegistrationState.BACKING_OFF:
            left = math.ceil(worker.since + (worker.retry_in_s or 0.0) - now)
            then = f"retrying in {duration(left)}" if left > 0 else "retrying now"
            keys = "r retry now"
        case RegistrationState.OFFLINE:
            then, keys = f"no more retries (maxRetry {options.max_retry})", "r retry"
        case RegistrationState.REFUSED:
            then, keys = "no retry with these credentials", "r retry"
        case _:
            return
    todo = worker.todo
    if not todo and worker.state is RegistrationState.REFUSED:
        todo = "check the API key and secret"
    elif not todo and state.server is not None:
        todo = f"check the log of the server at {shown_url(state.server.url)}"
    yield Problem(
        f"server {worker.reason}", worker.reason or "no reason given", f"{effect} · {then}", todo, keys
    )


def _errors(state: AppState, now: float, options: ServerOptions) -> Iterator[Problem]:
    yield from _impaired(state, lambda level: level >= LogLevel.ERROR)


def _warnings(state: AppState, now: float, options: ServerOptions) -> Iterator[Problem]:
    yield from _impaired(state, lambda level: level < LogLevel.ERROR)


def _impaired(state: AppState, which: Callable[[LogLevel], bool]) -> Iterator[Problem]:
    for part, (since, notice) in state.impaired.items():
        if which(notice.level):
            is_error = notice.level >= LogLevel.ERROR
            yield Problem(
                f"{part} {since}",
                notice.text,
                "",
                notice.todo,
                _edit_key(notice.line) if notice.file else "",
                is_error=is_error,
                file=notice.file,
                line=notice.line,
            )


def _memory(state: AppState, now: float, options: ServerOptions) -> Iterator[Problem]:
    recent = [
        (ts, warned) for ts, warned in state.breaches if warned.over_limit and now - ts < MEMORY_SHOWN_S
    ]
    if not recent:
        return
    ts, warned = recent[-1]
    job = state.jobs.get(warned.job_id) if warned.job_id else None
    what = f"job in {job.room}" if job else f"process {warned.pid}"
    before = f"{len(recent) - 1} more within a minute" if len(recent) > 1 else ""
    yield Problem(
        f"memory {ts}",
        f"over jobMemoryLimitMB: {what} used {megabytes(warned.used_mb)} of {megabytes(warned.limit_mb)} "
        "and was ended",
        before,
        "find out what uses the memory, or raise the limit",
        "B breaches",
    )


def _blocked(state: AppState, now: float, options: ServerOptions) -> Iterator[Problem]:
    blocked = [
        process
        for process in state.live_processes
        if process.blocked_since and now - process.blocked_since >= BLOCKED_AFTER_S
    ]
    if not blocked:
        return
    worst = min(blocked, key=lambda process: process.blocked_since)
    at = f" at {worst.blocked_at}" if worst.blocked_at else ""
    others = (
        f"{counted(len(blocked) - 1, 'more process', 'more processes')} blocked" if len(blocked) > 1 else ""
    )
    yield Problem(
        f"blocked {worst.id}",
        f"event loop blocked for {duration(now - worst.blocked_since)}{at}: {_name(state, worst)}",
        others,
        "await, or move the work to a thread",
        "s stacks",
        is_error=False,
    )


def _unconnected(state: AppState, now: float, options: ServerOptions) -> Iterator[Problem]:
    """Yield SDK jobs whose entry function has not connected to the room, on a server with media."""
    if state.server is None or not state.server.media or state.generation.runtime == "native":
        return
    late = [job for job in state.jobs.values() if _is_late(job, now)]
    if not late:
        return
    since = late[0].times.entered or now
    others = f"{len(late) - 1} more like it" if len(late) > 1 else ""
    yield Problem(
        f"unconnected {late[0].id}",
        f"not connected to room {late[0].room}, {duration(now - since)} after its entry function started",
        others,
        "call ctx.connect() early in the entry function",
        "s stacks",
        is_error=False,
    )


def _is_late(job: JobView, now: float) -> bool:
    entered = job.times.entered
    has_entered = job.phase is JobPhase.RUNNING and entered is not None and job.times.connected is None
    return has_entered and now - (entered or now) >= CONNECTED_WITHIN_S


def _old_server(state: AppState, now: float, options: ServerOptions) -> Iterator[Problem]:
    worker = state.worker
    if state.server is None or not worker.is_registered or worker.knows_deployments or not worker.deployment:
        return
    why = exposure(
        state.server.url, worker.deployment, knows_deployments=False, production=options.production
    )
    if why:
        yield Problem("old server", why, "", "", "i details", is_error=False)


_FINDERS = (
    _file,
    _starts,
    _server,
    _failures,
    _errors,
    _memory,
    _warnings,
    _blocked,
    _unconnected,
    _old_server,
)
"""The functions that find problems, the most urgent kind first."""


def _retry(state: AppState) -> str:
    return "r retry (reload is paused: p resume)" if state.watching.paused else "r retry"


def _name(state: AppState, process: ProcessView) -> str:
    job = state.jobs.get(process.job_id) if process.job_id and process.state is ProcessState.JOB else None
    return job.room if job else f"{process.kind} process {process.pid}"


def _place(state: AppState, file: str, line: int | None) -> str:
    shown = project_path(file, state.agent)
    return f"{shown}:{line}" if line else shown


def _source(file: str | None, line: int | None, trace: str) -> str:
    """Return the source line as the traceback quotes it; empty if it does not."""
    found = failing_place(_trace(trace))
    return found.quoted if found and (found.file, found.line) == (file, line) else ""


def _trace(text: str) -> str:
    """Return the frames of the project; from the stacks of all threads, return the main thread's."""
    main = _MAIN_THREAD.search(text)
    return without_libraries(main.group() if main else text)


def problem_lines(found: Problem, width: int = 0, rows: int = 0) -> tuple[Line, ...]:
    """Return a problem as a block: cause, place, effect, and what to do. Width 0 does not wrap.

    In fewer `rows` (0: any number) it is shortened; cause and advice keep a row each.
    """
    whole = _block(found, width, *_WHOLE)
    fits = (short for most in _SHORTER if len(short := _block(found, width, *most)) <= rows)
    return whole if not rows or len(whole) <= rows else next(fits, _block(found, width, *_SHORTER[-1]))


_ANY = 1_000
_WHOLE = (_ANY, 1, _ANY, _ANY)
_SHORTER = (
    (3, 1, 1, _ANY),
    (2, 1, 1, 2),
    (2, 1, 0, 2),
    (2, 1, 0, 1),
    (1, 1, 0, 1),
    (1, 0, 0, 1),
)
"""The rows of cause, place, effect, and advice in blocks that are shortened more and more."""


def _block(found: Problem, width: int, cause: int, place: int, effect: int, advice: int) -> tuple[Line, ...]:
    """Return a problem with at most that many rows of each part."""
    sign, at, source = found.sign, one_line(found.place), one_line(found.source)
    why = one_line(found.cause)
    if at and not place and cell_len(beside := f"{why} · {at}") <= width - 2:
        why = beside
    return (
        *_rows(sign, why, sign.tone, width, cause),
        *(((Span("  "), Span(at, Tone.STRONG), Span(f"  {source}")),) if at and place else ()),
        *_rows(Span("  "), found.effect, Tone.PLAIN, width, effect),
        *_todo_lines(found, width, advice),
    )


def _rows(mark: Span, text: str, tone: Tone, width: int, most: int = _ANY) -> list[Line]:
    """Return the text after a mark of two cells, its other rows indented; nothing for an empty text.

    A text of more than `most` rows ends with an ellipsis.
    """
    if not (text := one_line(text)) or not most:
        return []
    rows = wrapped(text, width - 2) if width else [text]
    if len(rows) > most:
        rows = [*rows[: most - 1], clip(" ".join(rows[most - 1 :]), max(width - 2, 8))]
    first, *rest = rows
    return [(mark, Span(first, tone)), *((Span(f"  {row}", tone),) for row in rest)]


def _todo_lines(found: Problem, width: int, most: int) -> list[Line]:
    arrow, keys = Span("→ ", Tone.WARN), Span(f" · {found.keys}", Tone.DIM)
    line = (arrow, Span(one_line(found.todo)), keys)
    if found.todo and found.keys and (not width or width_of(line) <= width):
        return [line]
    lines = _rows(arrow, found.todo, Tone.PLAIN, width, most)
    return [*lines, *_rows(Span("  "), found.keys, Tone.DIM, width, most - len(lines))]


def problem_line(found: Problem, width: int) -> Line:
    """Return a problem in one line: its sign and its cause."""
    return (found.sign, Span(clip(one_line(found.cause), max(width - 2, 8))))


SHOWN = 3
"""Maximum number of problems shown; the rest are counted."""

BLOCK = 5
"""Rows of the first problem's block that other problems do not take."""


def all_lines(found: tuple[Problem, ...], width: int, rows: int, room: int = _ANY) -> tuple[Line, ...]:
    """Return the lines of the pane: the first problem as a block, and the others too if they fit in `rows`.

    The others take one line each; more than `SHOWN` are counted. There are at most `room` lines: with too
    little room the block is shortened, and others are counted or, since the title counts all, left out.
    """
    first, *others = found
    least = min(room - bool(others), BLOCK)
    lines = [*problem_lines(first, width, max(room - min(len(others), SHOWN), least, 2))]
    blocks = 1
    for each in others[: SHOWN - 1]:
        block = problem_lines(each, width)
        last = min(len(found), SHOWN + 1) - blocks - 1
        if len(lines) + 1 + len(block) + last > min(rows, room):
            break
        lines += [(), *block]
        blocks += 1
    left = max(room - len(lines), 0)
    shown = min(SHOWN, len(found)) if left >= min(SHOWN + 1, len(found)) - blocks else blocks + left - 1
    lines += [problem_line(each, width) for each in found[blocks:shown]]
    if (more := len(found) - max(shown, blocks)) > 0 and left > 0:
        lines.append((Span(f"  {more} more", Tone.DIM),))
    return tuple(lines)
