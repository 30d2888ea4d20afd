"""Files that the agent's own loading rewrites: each load would cause the next one, for ever."""

from collections import deque
from collections.abc import Iterable
from pathlib import Path

from agent_tui.model.clock import Clock


class LoopBreaker:
    """Counts changes that came while a load ran, in a sliding window; a person's saves do not count."""

    def __init__(self, clock: Clock, *, limit: int = 6, window_s: float = 10.0) -> None:
        self._clock = clock
        self._limit = limit
        self._window_s = window_s
        self._seen: dict[Path, deque[float]] = {}
        self._passed_over: set[Path] = set()

    @property
    def passed_over(self) -> frozenset[Path]:
        """Files whose changes count no more."""
        return frozenset(self._passed_over)

    def note(self, paths: Iterable[Path], *, during_load: bool) -> frozenset[Path]:
        """Takes changes; those of the files that have now changed too often are passed over from here on."""
        if not during_load:
            return frozenset()
        now = self._clock.monotonic()
        over = set()
        for path in paths:
            seen = self._seen.setdefault(path, deque())
            seen.append(now)
            while now - seen[0] > self._window_s:
                seen.popleft()
            if len(seen) >= self._limit:
                over.add(path)
                del self._seen[path]
        self._passed_over |= over
        return frozenset(over)

    def forget(self) -> None:
        """Lets all count again."""
        self._passed_over.clear()
        self._seen.clear()
