"""Reading what a child printed of its stacks."""

import re
from pathlib import PurePath

_FRAME = re.compile(r'^  File "([^"]+)", line (\d+), in (.+)$', re.MULTILINE)
_MAIN = "Thread MainThread:\n"
_OURS = "/agent_tui/child/"


def innermost(stacks: str) -> tuple[str, int, str] | None:
    """File, line and function that the main thread is in, our own code and the interpreter's left out."""
    begin = stacks.find(_MAIN)
    if begin < 0:
        return None
    main = stacks[begin + len(_MAIN) :].split("\n\n", 1)[0]
    found = [each for each in _FRAME.findall(main) if _OURS not in each[0] and not each[0].startswith("<")]
    own = [each for each in found if "/lib/python" not in each[0]]
    if not found:
        return None
    file, line, function = (own or found)[-1]
    return file, int(line), function


def place(stacks: str) -> str:
    """`agent.py:12 in entry`, or nothing."""
    found = innermost(stacks)
    return f"{PurePath(found[0]).name}:{found[1]} in {found[2]}" if found else ""
