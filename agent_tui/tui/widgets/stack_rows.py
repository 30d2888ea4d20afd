"""A process's stacks: tasks and threads, the project's frames bright, libraries folded. Pure functions."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from rich.cells import cell_len

from agent_tui.logs.sanitize import sanitize
from agent_tui.tui.widgets.source import Frame, frames_of
from agent_tui.tui.widgets.text import Line, Span, Tone, clip, counted, duration, one_line, pad, project_path

MAIN = "MainThread"
"""Python's name for the main thread; the stacks of Node processes use it too."""

_SECTION = re.compile(r"^(Thread|Task) ([^\n]*):$", re.MULTILINE)
_FUNCTION = re.compile(r", in (.+)$|^ +at (?:async )?([^\n(]+) \(")
PLACE_WIDTH = 34
"""Maximum width of the column with file, line, and function, in cells."""


@dataclass(frozen=True, slots=True)
class Stack:
    """The stack of one task or thread, the innermost frame first, or a note in place of frames."""

    kind: str
    name: str
    frames: tuple[Frame, ...]
    note: str = ""

    @property
    def is_main(self) -> bool:
        return self.kind == "Thread" and self.name == MAIN

    @property
    def own(self) -> Frame | None:
        """The innermost frame in the project; None if there is none."""
        return next((frame for frame in self.frames if not frame.is_library), None)


def stacks_in(text: str) -> tuple[Stack, ...]:
    """Return the stacks that a child wrote: of Python's threads and tasks, or of Node's main thread."""
    _, *parts = _SECTION.split(sanitize(text, len(text)))
    return tuple(
        _stack(kind, name, body)
        for kind, name, body in zip(parts[::3], parts[1::3], parts[2::3], strict=True)
    )


def _stack(kind: str, name: str, body: str) -> Stack:
    found = frames_of(body.strip("\n"))
    frames = [frame for frame in found if frame.file]
    if frames and not frames[0].lines[0].lstrip().startswith("at "):  # Python's innermost frame comes last
        frames.reverse()
    note = "" if frames else " ".join(line.strip() for frame in found for line in frame.lines)
    return Stack(kind, name, tuple(frames), note)


def top_frame(text: str) -> Frame | None:
    """Return the project's innermost frame: of the main thread, or else of a task, or else of a thread."""
    ordered = sorted(stacks_in(text), key=lambda stack: (not stack.is_main, stack.kind != "Task"))
    return next((stack.own for stack in ordered if stack.own is not None), None)


def place_of(frame: Frame, agent: str) -> str:
    """Return a frame's place in one line: `agent.py:42 load_menu`."""
    file = (
        one_line(project_path(frame.file, agent)) if not frame.is_library else frame.file.rpartition("/")[2]
    )
    return one_line(f"{file}:{frame.line} {_function(frame)}")


def _function(frame: Frame) -> str:
    found = _FUNCTION.search(frame.lines[0])
    return (found[1] or found[2]).strip() if found else ""


def blocked_line(text: str, blocked_s: float, blocked_at: str, agent: str) -> str:
    """Return for how long and where the event loop is blocked; empty if it is not (`blocked_s` is 0)."""
    if blocked_s <= 0:
        return ""
    main = next((stack for stack in stacks_in(text) if stack.is_main), None)
    where = f"{place_of(main.own, agent)}()" if main is not None and main.own is not None else blocked_at
    return f"event loop blocked for {duration(blocked_s)}{f' in {where}' if where else ''}"


def stack_lines(text: str, width: int, agent: str, *, is_blocked: bool) -> tuple[Line, ...]:
    """Return the stacks: tasks, then threads; for a blocked process, the main thread first.

    Stacks with project frames come before the others, which take one line each.
    """
    stacks = stacks_in(text)
    if not stacks:
        return tuple((Span(clip(one_line(line), width)),) for line in sanitize(text, len(text)).split("\n"))
    main = [stack for stack in stacks if stack.is_main]
    tasks = [stack for stack in stacks if stack.kind == "Task"]
    threads = [stack for stack in stacks if stack.kind == "Thread" and not stack.is_main]
    blocks = [("Tasks", tasks), ("Threads", [*main, *threads])]
    if is_blocked:
        blocks = [("Running", main), ("Tasks", tasks), ("Other threads", threads)]
    lines: list[Line] = []
    for title, members in blocks:
        if members:
            lines += [()] if lines else []
            lines.append((Span(title, Tone.STRONG), Span(f"  {len(members)}", Tone.DIM)))
            for stack in sorted(members, key=lambda each: each.own is None):
                lines += _stack_lines(stack, width, agent)
    return tuple(lines)


def _stack_lines(stack: Stack, width: int, agent: str) -> Iterable[Line]:
    name = one_line("main thread" if stack.is_main else stack.name)
    if stack.own is None:
        waits = stack.note or (place_of(stack.frames[0], agent) if stack.frames else "not started yet")
        verb = "" if stack.note else "awaits " if stack.kind == "Task" else "in "
        yield (Span(clip(f"  ○ {name}  {verb}{one_line(waits)}", width), Tone.DIM),)
        return
    verb = "awaits" if stack.kind == "Task" and stack.frames[0].is_library else ""
    what = f"  {verb} {place_of(stack.frames[0], agent)}" if verb else ""
    head = clip(f"  ● {name}", width)
    yield (Span(head, Tone.GOOD), Span(clip(what, max(width - len(head), 0)), Tone.DIM))
    own = [cell_len(place_of(frame, agent)) for frame in stack.frames if not frame.is_library]
    places = min(max(own), PLACE_WIDTH)
    folded = 0
    for frame in stack.frames:
        if frame.is_library:
            folded += 1
            continue
        if folded:
            yield _folded(folded)
        folded = 0
        yield _frame_line(frame, width, agent, places)
    if folded:
        yield _folded(folded)


def _folded(count: int) -> Line:
    return (Span(f"      … {counted(count, 'library frame')}", Tone.DIM),)


def _frame_line(frame: Frame, width: int, agent: str, places: int) -> Line:
    """Return a frame of the project: its place in `places` cells, and the source line if it is known."""
    source = one_line(frame.lines[1]) if len(frame.lines) > 1 else ""
    place = place_of(frame, agent)
    shown = pad(place, places) if cell_len(place) <= places else place
    text = clip(f"{shown}  {source}".rstrip(), max(width - 6, 0))
    return (Span("      "), Span(text[: len(place)], Tone.STRONG), Span(text[len(place) :]))
