"""The two clocks, injected everywhere so that tests own time."""

import time
from typing import Protocol


class Clock(Protocol):
    """What the project asks of time: a date for people, and a steady count for deadlines."""

    def time(self) -> float:
        """Seconds since the Unix epoch; may jump."""
        ...

    def monotonic(self) -> float:
        """Seconds from an arbitrary start; never goes back."""
        ...


class SystemClock:
    """The machine's own clocks."""

    def time(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic()
