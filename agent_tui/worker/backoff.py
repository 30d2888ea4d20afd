"""How long to wait before the next attempt."""

from random import Random

from agent_tui.worker.timings import Timings


def pause_s(attempt: int, timings: Timings, rng: Random) -> float:
    """Seconds to wait after the `attempt`-th failure in a row (from 1): `min(2·n, 10)`, with a jitter.

    The schedule is the SDKs' (agents-js.md §3.5); the jitter keeps a fleet from coming back all at once.
    """
    base = min(timings.backoff_step_s * attempt, timings.backoff_limit_s)
    return base * (1 + rng.uniform(-timings.backoff_jitter, timings.backoff_jitter))
