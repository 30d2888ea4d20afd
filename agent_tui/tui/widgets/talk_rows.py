"""The rows of a conversation: which block is in which row, and which blocks contain a text.

A delta changes one turn, so only the blocks of that turn are rebuilt: turns are frozen, and one that has
not changed is the same object.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence

from agent_tui.model.conversations import SessionView, TurnView
from agent_tui.tui.widgets.talk_text import (
    Block,
    Look,
    first_blocks,
    generation_after,
    last_blocks,
    turn_blocks,
)
from agent_tui.tui.widgets.text import Line


class TalkRows:
    """The blocks of one session, as rows."""

    def __init__(self) -> None:
        self._session: SessionView | None = None
        self._look = Look(80)
        self._turns: list[tuple[TurnView, int, tuple[Block, ...]]] = []
        """For each turn: the turn, the generation of the previous turn, and its blocks."""
        self._last: tuple[Block, ...] = ()
        self._unfolded: frozenset[str] = frozenset()
        self._needle = ""
        self.only_matches = False
        """Whether only blocks that contain the needle are shown; set it with `search`."""
        self.blocks: list[Block] = []
        """The shown blocks, in order."""
        self._starts: list[int] = [0]
        """The first row of each block, and the number of rows."""
        self.matches: list[int] = []
        """The indexes of the shown blocks that contain the needle."""

    def __len__(self) -> int:
        return self._starts[-1]

    def show(self, session: SessionView | None, now: float, look: Look) -> bool:
        """Show the session as of `now` (Unix seconds). Return whether a row changed."""
        same = session is not None and self._session is not None and session.key == self._session.key
        if not same:
            self._unfolded = frozenset()
        if not same or look != self._look:
            self._turns = []
        self._session, self._look = session, look
        first = self._build(session.turns if session is not None else ())
        last = tuple(last_blocks(session, now, look)) if session is not None else ()
        if first is None and last == self._last and same:
            return False
        self._last = last
        self._place()
        return True

    def _build(self, turns: Sequence[TurnView]) -> int | None:
        """Build the blocks of changed turns. Return the index of the first one; None if none changed."""
        first: int | None = None
        before = 0
        for index, turn in enumerate(turns):
            known = self._turns[index] if index < len(self._turns) else None
            if known is None or known[0] is not turn or known[1] != before:
                built = (turn, before, turn_blocks(turn, before, self._look, self._unfolded))
                self._turns[index : index + 1] = [built]
                first = index if first is None else first
            before = generation_after(turn)
        if len(self._turns) > len(turns):
            del self._turns[len(turns) :]
            first = len(turns) if first is None else first
        return first

    def _place(self) -> None:
        """Lay out the blocks one below the other."""
        blocks = list(first_blocks(self._session, self._look)) if self._session is not None else []
        blocks += [block for _, _, turn in self._turns for block in turn]
        blocks += self._last
        if self._needle and self.only_matches:
            blocks = [block for block in blocks if self._contains(block)]
        self.blocks = blocks
        starts, row = [], 0
        for block in blocks:
            starts.append(row)
            row += len(block.lines)
        self._starts = [*starts, row]
        self.matches = (
            [at for at, block in enumerate(blocks) if self._contains(block)] if self._needle else []
        )

    # -- rows --------------------------------------------------------------------------------------------

    def at(self, row: int) -> tuple[int, Line]:
        """Return the index of the block in a row, and the row's line."""
        index = min(bisect_right(self._starts, row), len(self.blocks)) - 1
        return index, self.blocks[index].lines[row - self._starts[index]]

    def row_of(self, index: int) -> int:
        """Return the first row of a block."""
        return self._starts[index]

    def index_of(self, key: str | None) -> int | None:
        """Return the index of the block with that key; None if it is not shown."""
        return next((at for at, block in enumerate(self.blocks) if block.key == key), None)

    # -- folds -------------------------------------------------------------------------------------------

    def is_unfolded(self, key: str) -> bool:
        return key in self._unfolded

    def toggle_fold(self, key: str) -> None:
        """Unfold a block, or fold it."""
        self._unfolded ^= {key}
        self._rebuild(key.partition("/")[0])

    def fold_all(self) -> None:
        """Unfold all blocks, or fold all if one is unfolded."""
        foldable = (block.key for _, _, turn in self._turns for block in turn if block.can_fold)
        self._unfolded = frozenset() if self._unfolded else frozenset(foldable)
        self._rebuild()

    def _rebuild(self, number: str = "") -> None:
        """Rebuild the blocks of that turn, or of all turns."""
        self._turns = [
            (turn, before, turn_blocks(turn, before, self._look, self._unfolded))
            if number in ("", str(turn.number))
            else (turn, before, blocks)
            for turn, before, blocks in self._turns
        ]
        self._place()

    # -- search ------------------------------------------------------------------------------------------

    @property
    def needle(self) -> str:
        """The text that is searched; empty without a search."""
        return self._needle

    def search(self, needle: str, *, only_matches: bool = False) -> None:
        """Find the blocks that contain a text, in any case; an empty one ends the search."""
        self._needle, self.only_matches = needle.casefold(), only_matches and bool(needle)
        self._place()

    def _contains(self, block: Block) -> bool:
        return self._needle in block.text.casefold()

    def match_after(self, index: int) -> int | None:
        """Return the first match after a block, or else the first of all."""
        if not self.matches:
            return None
        return self.matches[bisect_right(self.matches, index) % len(self.matches)]

    def match_before(self, index: int) -> int | None:
        """Return the last match before a block, or else the last of all."""
        return self.matches[bisect_left(self.matches, index) - 1] if self.matches else None

    def rank(self, index: int) -> int:
        """Return the number of a block among the matches, from 1; 0 if it is not one."""
        return self.matches.index(index) + 1 if index in self.matches else 0
