"""The status line above the footer: what just happened. Toasts would cover what they report on."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from textual.widgets import Static

from agent_tui.model.state import AppState, LoadRecord
from agent_tui.tui.widgets.log_text import clock
from agent_tui.tui.widgets.swap_text import outcomes, what_happened
from agent_tui.tui.widgets.text import (
    Line,
    Span,
    Tone,
    brief,
    counted,
    milliseconds,
    project_path,
    to_content,
)

FRESH_S = 10.0
"""Seconds that a notice stays bright. Then it is dim and has its time."""

KEPT_S = 60.0
"""Seconds that a notice is shown at most, unless it says itself when it is solved."""

FILES_NAMED = 2

OWN_S = 3.0
"""A swap that ends later than this after a load, in s, has its own notice: it waited, or was requested."""


@dataclass(frozen=True, slots=True)
class Notice:
    """What happened, in one line of plain text. `at` is in Unix seconds."""

    text: str
    at: float = 0.0
    failed: bool = False
    solved: Callable[[AppState], bool] | None = field(default=None, compare=False)
    """Whether what it is about is solved in a state; it is shown until then."""


def current(notices: Sequence[Notice], state: AppState, now: float) -> Notice | None:
    """Return the newest notice; None if it is old, or if what it is about is solved."""
    newest = notices[-1] if notices else None
    if newest is None or (newest.solved(state) if newest.solved else now - newest.at > KEPT_S):
        return None
    return newest


def notice_line(notice: Notice | None, now: float) -> Line:
    """Return the notice as a line; an empty line if there is no notice."""
    if notice is None:
        return ()
    sign = Span("✗ " if notice.failed else "", Tone.BAD)
    text = brief(notice.text)
    if 0 <= now - notice.at < FRESH_S:
        return sign, Span(text, Tone.BAD if notice.failed else Tone.PLAIN)
    return Span(f"{clock(notice.at, millis=False)} {sign.text}{text}", Tone.DIM), Span("")


def load_notice(before: AppState, state: AppState) -> Notice | None:
    """Return a notice about a load (or its swaps) that ended since `before`, and what it did to jobs.

    None for the first load, or if nothing ended.
    """
    if not state.loads or state.loads[-1].number <= 1:
        return None
    if state.loads == before.loads and (
        state.sessions is before.sessions or not set(outcomes(state)) - set(outcomes(before))
    ):
        return None
    load = state.loads[-1]
    files = _files(load, state.agent)
    if not load.good:
        at = f"{project_path(load.file, state.agent)}:{load.line}" if load.file and load.line else files
        stays = f" · generation {state.generation.current} stays current" if state.generation.current else ""
        text = f"{at} does not load: {load.error}{stays}"
        return Notice(text, failed=True, solved=lambda later: not later.generation.is_broken)
    jobs = what_happened(state)
    if state.loads == before.loads and _newest_swap(state) - load.ts > OWN_S:
        return Notice(f"generation {state.generation.current}: {jobs}") if jobs else None
    took = f" in {milliseconds(load.seconds * 1000)}" if load.seconds is not None else ""
    done = f"rolled back to {load.rolled_back_to}" if load.rolled_back_to else f"reloaded {files}"
    return Notice(f"{done}{took}{f' · {jobs}' if jobs else ''}")


def _newest_swap(state: AppState) -> float:
    swaps = (each.last_swap for each in state.sessions.values())
    return max((swap.at for swap in swaps if swap is not None), default=0.0)


def _files(load: LoadRecord, agent: str) -> str:
    named = [project_path(path, agent) for path in load.changed[:FILES_NAMED]]
    more = len(load.changed) - len(named)
    names = ", ".join(named) + (f" and {counted(more, 'more file')}" if more else "")
    return names or f"generation {load.number}"


class StatusLine(Static):
    """One line with the last notice. On a page it covers the row above the footer while there is a notice."""

    DEFAULT_CSS = """
    StatusLine {
        height: 1;
        padding: 0 1;
        text-wrap: nowrap;
        text-overflow: ellipsis;
    }
    """

    def __init__(self) -> None:
        super().__init__(markup=False)
        self._line: Line = ()

    def show(self, notice: Notice | None, now: float) -> None:
        """Show the notice; `now` is in Unix seconds."""
        line = notice_line(notice, now)
        if line != self._line:
            self._line = line
            self.update(to_content(line), layout=False)
            self.set_class(bool(line), "-shown")
