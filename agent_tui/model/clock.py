"""The clocks, injected everywhere so that tests control time."""

import time
from typing import Protocol


class Clock(Protocol):
    """The time of day, and steady clocks for deadlines."""

    def time(self) -> float:
        """Return seconds since the Unix epoch; may jump."""
        ...

    def monotonic(self) -> float:
        """Return seconds since an arbitrary start; never goes back."""
        ...

    def boottime(self) -> float:
        """Return seconds since an arbitrary start, including the time that the machine sleeps."""
        ...


class SystemClock:
    """The clocks of the machine."""

    def time(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic()

    def boottime(self) -> float:
        return time.clock_gettime(_COUNTS_SLEEP)


_COUNTS_SLEEP = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
"""On Linux, CLOCK_MONOTONIC stops while the machine sleeps; on macOS it does not."""
