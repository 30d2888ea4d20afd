"""Whether the server still answers: pings of our own, since it never checks on us (worker-protocol §5)."""

from collections import deque

from agent_tui.worker.messages import Dead, Recovered, Suspect
from agent_tui.worker.timings import Timings


class Liveness:
    """Judges a link by the age of its oldest unanswered ping. Knows no clock: every call gets `now`."""

    def __init__(self, timings: Timings) -> None:
        self._timings = timings
        self._unanswered: deque[tuple[int, float, float]] = deque()
        """Stamp, when it was sent, and since when its silence counts."""
        self._next_ping: float | None = None
        self._suspect = False
        self._heard_since = 0.0

    @property
    def heard_since(self) -> float:
        """When the last answered ping was sent: whatever arrives now left the server after that."""
        return self._heard_since

    def start(self, now: float) -> None:
        """From here on pings are due at their interval."""
        self._next_ping = now + self._timings.ping_interval_s
        self._heard_since = now

    def sent(self, stamp: int, now: float) -> None:
        """A ping with this stamp went out; stamps never fall."""
        self._unanswered.append((stamp, now, now))
        if self._next_ping is not None:
            self._next_ping = now + self._timings.ping_interval_s

    def answered(self, stamp: int, now: float) -> Recovered | None:
        """An answer came. It also answers every ping sent before the one that it names."""
        while self._unanswered and self._unanswered[0][0] <= stamp:
            self._heard_since = self._unanswered.popleft()[1]
        if self._suspect and not self._silent_for(self._timings.suspect_after_s, now):
            self._suspect = False
            return Recovered()
        return None

    def forgive(self, now: float) -> None:
        """Silence counts from `now` on only."""
        self._unanswered = deque((stamp, sent, now) for stamp, sent, _ in self._unanswered)

    def judge(self, now: float) -> Suspect | Dead | None:
        """What the silence has come to mean at `now`, told once."""
        if self._silent_for(self._timings.dead_after_s, now):
            return Dead(f"the server has not answered for {now - self._unanswered[0][2]:.0f} s")
        if not self._suspect and self._silent_for(self._timings.suspect_after_s, now):
            self._suspect = True
            return Suspect(now - self._unanswered[0][2])
        return None

    def ping_due(self, now: float) -> bool:
        return self._next_ping is not None and now >= self._next_ping

    def next_deadline(self) -> float | None:
        """When `judge` or `ping_due` may next have something to say."""
        deadlines = [] if self._next_ping is None else [self._next_ping]
        if self._unanswered:
            patience = self._timings.dead_after_s if self._suspect else self._timings.suspect_after_s
            deadlines.append(self._unanswered[0][2] + patience)
        return min(deadlines, default=None)

    def _silent_for(self, patience_s: float, now: float) -> bool:
        # The same sum as in `next_deadline`: rounding must not leave a deadline that passes and says nothing.
        return bool(self._unanswered) and now >= self._unanswered[0][2] + patience_s
