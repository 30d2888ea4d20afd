"""Files that the agent's own loading rewrites: each load would cause the next one, for ever.

The files of somebody who saves often change while loads run, too. Two things tell them apart: what loading
rewrites does not change while nothing is loaded, and is never as it was loaded when a load is over.
"""

from collections.abc import Iterable
from pathlib import Path

SUSPECT_AFTER = 4
"""Loads in a row; up to here the next one begins at once."""

MOST_LOADS = 7

MOST_HOLD_S = 5.0


class LoopBreaker:
    """Counts the loads in a row in which a file changed; `acquit` ends a row."""

    def __init__(self, *, suspect_after: int = SUSPECT_AFTER, limit: int = MOST_LOADS) -> None:
        self._suspect_after = suspect_after
        self._limit = limit
        self._rows: dict[Path, tuple[int, float]] = {}
        """How many loads it changed in, and how long after the last of them began."""
        self._passed_over: set[Path] = set()

    @property
    def passed_over(self) -> frozenset[Path]:
        """Files whose changes count no more."""
        return frozenset(self._passed_over)

    @property
    def counted(self) -> frozenset[Path]:
        """Files that changed while they were loaded, so far."""
        return frozenset(self._rows)

    def note(self, paths: Iterable[Path], after_s: float) -> frozenset[Path]:
        """Takes changes that came in a load, so many seconds after it began; those of the files that have now
        changed in too many are passed over from here on.
        """
        over = set()
        for path in paths:
            count, _ = self._rows.get(path, (0, 0.0))
            self._rows[path] = count + 1, after_s
            if count + 1 >= self._limit:
                over.add(path)
                del self._rows[path]
        self._passed_over |= over
        return frozenset(over)

    def acquit(self, paths: Iterable[Path]) -> None:
        """Loading does not rewrite these."""
        for path in paths:
            self._rows.pop(path, None)

    def hold_s(self, changed: Iterable[Path]) -> float:
        """How long to load nothing in order to see whether these change all the same; 0 for no reason to.

        Somebody who goes on to save as often as until now does so within it. What is no suspect waits for
        nothing.
        """
        rows = [self._rows.get(path, (0, 0.0)) for path in changed]
        if not rows or any(count < self._suspect_after for count, _ in rows):
            return 0.0
        return min(2 * max(after_s for _, after_s in rows), MOST_HOLD_S)

    def forget(self) -> None:
        """Lets all count again."""
        self._passed_over.clear()
        self._rows.clear()
