"""How long the supervision of a process waits for what. Seconds throughout."""

import math
import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Self

ENTRY_WIND_DOWN_S = 15.0
SESSION_CLOSE_S = 60.0
"""What the SDK's job main allows an entry to return and a session to close (livekit-agents.md §2.4)."""


@dataclass(frozen=True, slots=True)
class ProcessTimings:
    """Read afresh at each step, so that an edited option applies to processes that already run."""

    import_s: float = 60.0
    """For the SDK's own import, before the user's file is touched."""
    initialize_s: float = 10.0
    shutdown_s: float = 10.0
    """For the answer to a shutdown request, and again from the closed session to the exit."""
    session_end_s: float = 300.0
    ping_interval_s: float = 1.0
    slow_ping_s: float = 0.5
    """A ping this long without its answer is told, with the stacks at that moment."""
    ping_timeout_s: float = 60.0
    stacks_s: float = 1.0
    """For a child to print its stacks, which a thread of its own does."""
    debug_poll_s: float = 1.0
    """How often a time-out that a debugger holds up is looked at again."""

    @property
    def wind_down_s(self) -> float:
        """From the acknowledged request to the closed session, at most."""
        return ENTRY_WIND_DOWN_S + SESSION_CLOSE_S + self.session_end_s

    def without_watchdogs(self) -> Self:
        """The same, but a process may load and be silent for as long as it likes."""
        return replace(self, import_s=math.inf, initialize_s=math.inf, ping_timeout_s=math.inf)


@dataclass(frozen=True, slots=True)
class BackOff:
    """Waits after failed starts: none after the first, then doubling to a ceiling, with a jitter.

    The jitter keeps what failed together (the workers of a fleet, the processes of one worker) from retrying
    together.
    """

    first_s: float = 0.5
    most_s: float = 60.0
    jitter: float = 0.2
    """The greatest share by which a wait is longer or shorter."""
    uniform: Callable[[float, float], float] = random.uniform

    def after(self, failures: int) -> float:
        """Seconds to wait when that many starts in a row have failed."""
        if failures <= 1:
            return 0.0
        wait = min(math.ldexp(self.first_s, min(failures - 2, 30)), self.most_s)
        return min(wait * (1 + self.uniform(-self.jitter, self.jitter)), self.most_s)


@dataclass(frozen=True, slots=True)
class StartPatience:
    """How long failing starts are waited out, in seconds. Most causes pass: a model server that restarts."""

    refuse_after_s: float = 5.0
    """Starts that fail for this long make the worker refuse offers, until one succeeds."""
    job_s: float = 10.0
    """An accepted job waits this long for a process. The server sets no limit between the assignment and the
    agent's joining (worker-protocol §6.3); the people in the room do."""
