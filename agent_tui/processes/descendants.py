"""Who was started by whom: one look at all processes for any number of questions."""

from collections.abc import Iterable
from pathlib import Path

import psutil

_PROC = Path("/proc")


def descendants(roots: Iterable[int]) -> dict[int, list[int]]:
    """The pids below each of these, at any depth; none for one that is gone."""
    children: dict[int, list[int]] = {}
    for pid, parent in _parents():
        children.setdefault(parent, []).append(pid)
    return {root: _below(root, children) for root in roots}


def _below(root: int, children: dict[int, list[int]]) -> list[int]:
    found: list[int] = []
    waiting = list(children.get(root, ()))
    while waiting:
        pid = waiting.pop()
        found.append(pid)
        waiting += children.get(pid, ())
    return found


def _parents() -> Iterable[tuple[int, int]]:
    """Pid and parent of every process that can be seen."""
    if not _PROC.is_dir():
        return [(process.pid, process.ppid()) for process in psutil.process_iter()]
    pairs = []
    for folder in _PROC.iterdir():
        if folder.name.isdigit():
            try:
                # The name in parentheses may hold anything, blanks and parentheses too.
                parent = (folder / "stat").read_bytes().rpartition(b")")[2].split()[1]
            except OSError:
                continue
            pairs.append((int(folder.name), int(parent)))
    return pairs
