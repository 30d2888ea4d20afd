"""Every load of the agent's code so far, newest first."""

from pathlib import PurePath
from typing import ClassVar

from textual.binding import Binding, BindingType

from agent_tui.logs.sanitise import sanitise
from agent_tui.model.state import AppState, LoadRecord
from agent_tui.tui.screens.text_page import TextPage
from agent_tui.tui.widgets.log_text import clock
from agent_tui.tui.widgets.text import Line, Span, Tone, milliseconds, one_line, to_contents

FILES_SHOWN = 6
TRACE_LINES = 40


def load_lines(state: AppState) -> tuple[Line, ...]:
    """One block for each load, newest first; the one that serves is marked."""
    if not state.loads:
        return ((Span("nothing has been loaded yet", Tone.DIM),),)
    lines: list[Line] = []
    for record in reversed(state.loads):
        lines += [*_block(record, serves=record.number == state.generation.current), ()]
    return tuple(lines[:-1])


def _block(record: LoadRecord, *, serves: bool) -> list[Line]:
    mark = Span("✓ ", Tone.GOOD) if record.good else Span("✗ ", Tone.BAD)
    what = "serves" if serves else "was ready" if record.good else "does not load"
    took = "" if record.seconds is None else f", {milliseconds(record.seconds * 1000)} after the save"
    lines: list[Line] = [
        (
            mark,
            Span(f"generation {record.number} ", Tone.STRONG),
            Span(f"{what}{took}"),
            Span(f"  {clock(record.ts, millis=False)}", Tone.DIM),
        ),
        _fact("cause", _short(record.cause)),
    ]
    if record.changed:
        names = ", ".join(_short(path) for path in record.changed[:FILES_SHOWN])
        more = len(record.changed) - FILES_SHOWN
        lines.append(_fact("changed", names + (f" and {more} more" if more > 0 else "")))
    if record.good:
        lines.append(_fact("start", f"{record.start_method}: {record.start_reason}"))
        return lines
    place = f"{record.file}:{record.line}" if record.line else record.file or ""
    lines.append((Span("  error     ", Tone.DIM), Span(one_line(record.error), Tone.BAD)))
    if place:
        lines.append(_fact("where", place))
    trace = sanitise(record.traceback).strip("\n").split("\n")[-TRACE_LINES:]
    return lines + [(Span(f"    {each}"),) for each in trace if each]


def _fact(name: str, value: str) -> Line:
    return (Span(f"  {name:<10}", Tone.DIM), Span(one_line(value)))


def _short(path: str) -> str:
    """A file by its folder and name; words stay as they are."""
    return "/".join(PurePath(path).parts[-2:]) if "/" in path else path


class GenerationsPage(TextPage):
    """The list as it was when it was opened; Esc, g or q closes it."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("g", "close", show=False)]

    def __init__(self, state: AppState) -> None:
        super().__init__("Generations", to_contents(load_lines(state)))
