"""The server's clock, as its pongs show it: how old what it stamped is when it is read here."""

from collections import deque

REMEMBERED = 8
"""Pongs; a step of the server's clock is forgotten with them."""


class ServerClock:
    """Estimates the server's time from its pongs. Knows no clock: every call gets `now`."""

    def __init__(self) -> None:
        self._ahead: deque[float] = deque(maxlen=REMEMBERED)

    def pong(self, server_ms: int, now: float) -> None:
        """Takes the server's time in a pong (Unix ms) that is read at `now`; 0 is none."""
        if server_ms > 0:
            self._ahead.append(server_ms / 1000 - now)

    def age_s(self, stamped_ns: int, now: float) -> float | None:
        """Return how long ago the server stamped something (Unix ns, 0 is none), in s; None if unknown."""
        if stamped_ns <= 0 or not self._ahead:
            return None
        # A pong that is read late makes the server seem behind: the one that was read soonest counts.
        return max(now + max(self._ahead) - stamped_ns / 1e9, 0.0)
