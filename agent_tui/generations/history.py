"""The modules of the last loads, kept to be compared and loaded again."""

from dataclasses import dataclass, replace
from itertools import pairwise

from agent_tui.generations.sources import Snapshot
from agent_tui.model.errors import UserError

MOST_GOOD = 20
MOST_KEPT = 40
"""How many loads are kept, including those that failed, which are compared but never loaded again."""

MOST_BYTES = 64 * 2**20


@dataclass(frozen=True, slots=True)
class Loaded:
    """One finished load: its files and its outcome."""

    number: int
    snapshot: Snapshot
    good: bool
    rolled_back_to: int = 0
    """The generation to which this load rolled back; 0 for none."""
    at: float = 0.0
    """When the load ended, in Unix time."""
    could_not_start: bool = False
    """Whether the load failed only because no process could start, which says nothing about the code."""

    @property
    def is_comparable(self) -> bool:
        """Whether later loads are compared with it. A rollback that failed never became current code."""
        return self.good or not self.rolled_back_to


class History:
    """The last loads, oldest first. Content that did not change between two loads is stored once."""

    def __init__(self, *, most_good: int = MOST_GOOD, most_bytes: int = MOST_BYTES) -> None:
        """The last load is always kept, whatever its size."""
        self._most_good = most_good
        self._most_bytes = most_bytes
        self._kept: list[Loaded] = []

    def keep(self, kept: Loaded) -> Loaded:
        """Store a finished load, drop the oldest ones beyond the limits, and return the load as stored."""
        if self._kept:
            kept = replace(kept, snapshot=_sharing(kept.snapshot, self._kept[-1].snapshot))
        self._kept.append(kept)
        while len(self._kept) > 1 and self._is_too_much():
            del self._kept[0]
        return kept

    @property
    def newest(self) -> Loaded | None:
        """The last load, except a rollback that failed."""
        return next((each for each in reversed(self._kept) if each.is_comparable), None)

    def loadable(self, number: int) -> Loaded:
        """Return a load that can be loaded again. Raise UserError if it is not kept or failed."""
        kept = self._find(number)
        if not kept.good:
            raise UserError(f"generation {number} failed to load: there is nothing to roll back to")
        return kept

    def pair(self, number: int, against: int | None = None) -> tuple[Loaded, Loaded]:
        """Return the load to compare with, which is `against` or the previous one, and the load itself.

        Raise UserError if either is not kept.
        """
        kept = self._find(number)
        if against is not None:
            return self._find(against), kept
        before = [each for each in self._kept if each.number < number and each.is_comparable]
        if not before:
            first = "was the first" if number == 1 else "is the oldest one kept"
            raise UserError(f"generation {number} {first}: there is nothing to compare it with")
        return before[-1], kept

    @property
    def held_bytes(self) -> int:
        """The size of all kept content; content shared by successive loads counts once."""
        if not self._kept:
            return 0
        whole = sum(map(len, self._kept[0].snapshot.modules.values()))
        return whole + sum(_new_bytes(before, after) for before, after in pairwise(self._kept))

    def _is_too_much(self) -> bool:
        good = sum(each.good for each in self._kept)
        return good > self._most_good or len(self._kept) > MOST_KEPT or self.held_bytes > self._most_bytes

    def _find(self, number: int) -> Loaded:
        for each in self._kept:
            if each.number == number:
                return each
        if not self._kept or number > self._kept[-1].number or number < 1:
            raise UserError(f"there is no generation {number}")
        oldest = self._kept[0].number
        if number < oldest:
            raise UserError(f"generation {number} is no longer kept: the oldest is {oldest}")
        raise UserError(f"generation {number} never loaded: a later save overtook it")


def _sharing(snapshot: Snapshot, before: Snapshot) -> Snapshot:
    """Return the snapshot, with the same objects as the earlier one for equal content, to save memory."""
    old = before.modules
    modules = {
        path: old[path] if old.get(path) == content else content for path, content in snapshot.modules.items()
    }
    missing = before.missing if before.missing == snapshot.missing else snapshot.missing
    return replace(snapshot, modules=modules, missing=missing, written={})


def _new_bytes(before: Loaded, after: Loaded) -> int:
    old = before.snapshot.modules
    return sum(
        len(content) for path, content in after.snapshot.modules.items() if old.get(path) is not content
    )
