"""Finds the line that the agent's code is executing, in the stacks that a child prints."""

import re
from pathlib import PurePath

from agent_tui.model.wording import duration_text

_FRAME = re.compile(r'^  File "([^"]+)", line (\d+), in (.+)$', re.MULTILINE)
_NODE_FRAME = re.compile(r"^    at (.+) \((/[^\n]+):(\d+):\d+\)$", re.MULTILINE)
"""Frames of a Node child, innermost first (`child/node/stacks.mjs`)."""

_MAIN = "Thread MainThread:\n"
_TASK = re.compile(r"^Task [^\n]*:\n", re.MULTILINE)
_NODE_WAITS = "(no JavaScript runs: the event loop waits)"
_OURS = "/agent_tui/child/"
_LOADING = "/agent_tui/child/python/loading.py"
_INSTALLED = ("/lib/python", "/node_modules/")

Frame = tuple[str, int, str]
"""File, line, and function."""


def innermost(stacks: str) -> Frame | None:
    """Return the innermost frame of the main thread that is in the project, or else in installed code.

    agent-tui's own frames do not count. If the event loop is waiting, this is the frame of the first task
    that is waiting in the project.
    """
    main = _main(stacks)
    found = _frames(main)
    own = [frame for frame in found if _is_project(frame)]
    if not own and _waits(main):
        tasks = (_frames(section) for section in _TASK.split(stacks)[1:])
        own = next(filter(None, ([frame for frame in task if _is_project(frame)] for task in tasks)), [])
    found = own or found
    return found[-1] if found else None


def place(stacks: str) -> str:
    """Return the innermost frame as text: `agent.py:12 in entry`; empty if unknown."""
    found = innermost(stacks)
    return f"{PurePath(found[0]).name}:{found[1]} in {found[2]}" if found else ""


def slow_start(stacks: str, limit_s: float, *, is_job: bool) -> str:
    """Return why a process is not ready after `limit_s` seconds: what still runs, and at which line.

    Only a job process (`is_job`) runs prewarm.
    """
    main = _main(stacks)
    what = "prewarm" if is_job and _LOADING not in main else "loading the file"
    verb = "waiting" if _waits(main) else "running"
    at = f" at {where}" if (where := place(stacks)) else ""
    return f"{what} still {verb} after {duration_text(limit_s)}{at} (initializeProcessTimeout)"


def _main(stacks: str) -> str:
    """Return the part of the text that is about the main thread."""
    begin = stacks.find(_MAIN)
    return "" if begin < 0 else stacks[begin + len(_MAIN) :].split("\n\n", 1)[0]


def _frames(section: str) -> list[Frame]:
    """Return the frames of one thread or task, innermost last, without agent-tui's own."""
    node = [(file, line, function) for function, file, line in _NODE_FRAME.findall(section)]
    frames = _FRAME.findall(section) or node[::-1]
    return [
        (file, int(line), function)
        for file, line, function in frames
        if _OURS not in file and not file.startswith("<")
    ]


def _is_project(frame: Frame) -> bool:
    return not any(part in frame[0] for part in _INSTALLED)


def _waits(main: str) -> bool:
    """Return whether the event loop is waiting for events, because the thread is in its selector."""
    frames = _frames(main)
    return _NODE_WAITS in main or (bool(frames) and frames[-1][0].endswith("/selectors.py"))
