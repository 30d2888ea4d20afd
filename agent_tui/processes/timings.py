"""How long the supervision of a process waits for each step, in seconds."""

import math
import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Self

ENTRY_WIND_DOWN_S = 15.0
SESSION_CLOSE_S = 60.0
"""The SDK's limits for the entry function to return and for the session to close (livekit-agents.md §2.4)."""


@dataclass(frozen=True, slots=True)
class ProcessTimings:
    """The timeouts of a process, in seconds.

    They are read again at each step, so that an edited option applies to running processes too.
    """

    import_s: float = 60.0
    """Limit for the import of the SDK, before the agent's file is loaded."""
    initialize_s: float = 10.0
    shutdown_s: float = 10.0
    """Limit for the answer to a shutdown request, and again from the closed session to the exit."""
    session_end_s: float = 300.0
    ping_interval_s: float = 1.0
    slow_ping_s: float = 0.5
    """A ping unanswered for this long is reported, with the stacks at that moment."""
    ping_timeout_s: float = 60.0
    stacks_s: float = 1.0
    """Limit for a child to return its stacks, which a separate thread of it reads."""
    debug_poll_s: float = 1.0
    """Interval between checks of a timeout that does not count because a debugger holds the process."""

    @property
    def wind_down_s(self) -> float:
        """The longest time from the acknowledged request to the closed session."""
        return ENTRY_WIND_DOWN_S + SESSION_CLOSE_S + self.session_end_s

    def without_watchdogs(self) -> Self:
        """Return the same timeouts, without limits for loading and for answers to pings."""
        return replace(self, import_s=math.inf, initialize_s=math.inf, ping_timeout_s=math.inf)


@dataclass(frozen=True, slots=True)
class BackOff:
    """Pauses after failed starts: none after the first, then doubling up to a limit, with jitter.

    The jitter spreads the retries of things that failed at the same time, such as the workers of a fleet.
    """

    first_s: float = 0.5
    most_s: float = 60.0
    jitter: float = 0.2
    """The largest share by which a pause is longer or shorter."""
    uniform: Callable[[float, float], float] = random.uniform

    def after(self, failures: int) -> float:
        """Return the pause after that many failed starts in a row, in seconds."""
        if failures <= 1:
            return 0.0
        wait = min(math.ldexp(self.first_s, min(failures - 2, 30)), self.most_s)
        return min(wait * (1 + self.uniform(-self.jitter, self.jitter)), self.most_s)


@dataclass(frozen=True, slots=True)
class StartPatience:
    """How long failing starts are tolerated, in seconds.

    Many causes are temporary, such as a model server that restarts.
    """

    refuse_after_s: float = 5.0
    """Starts that fail for this long make the worker refuse offers, until one succeeds."""
    job_s: float = 10.0
    """How long an accepted job waits for a process. The server would wait longer (worker-protocol §6.3), but
    the people in the room do not.
    """
