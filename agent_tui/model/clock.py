"""The clocks, injected everywhere so that tests own time."""

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

    def boottime(self) -> float:
        """As `monotonic`, from another start, and counted while the machine sleeps too."""
        ...


class SystemClock:
    """The machine's own clocks."""

    def time(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic()

    def boottime(self) -> float:
        return time.clock_gettime(_COUNTS_SLEEP)


_COUNTS_SLEEP = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
"""Linux's CLOCK_MONOTONIC stands still while the machine sleeps, that of macOS does not."""
