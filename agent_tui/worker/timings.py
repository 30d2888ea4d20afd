"""How long the worker waits for what, in one place."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Timings:
    """All of the worker's time-outs and intervals, in seconds."""

    open_timeout_s: float = 10.0
    """From the start of an attempt to the finished websocket handshake."""
    register_timeout_s: float = 10.0
    """From the registration to the server's answer; the server's own limit is as long (protocol §4)."""
    ping_interval_s: float = 1.5
    suspect_after_s: float = 3.25
    """A ping this long without its answer makes the link suspect: with the wait for that ping within 5 s."""
    dead_after_s: float = 13.0
    """A ping this long without its answer ends the link: with the wait for that ping within 15 s."""
    offer_s: float = 2.5
    """From an offer to its answer; after 2.8 s the server has given up (worker-protocol §6.3)."""
    load_interval_s: float = 2.5
    measure_timeout_s: float = 2.0
    stable_after_s: float = 10.0
    """A registration that lasted this long forgives the failed attempts before it."""
    stall_s: float = 1.0
    """A timer later than this says that our own loop stood still, so the silence may be ours."""
    flush_timeout_s: float = 0.25
    """How long closing waits for what is still to be sent."""
    backoff_step_s: float = 2.0
    backoff_limit_s: float = 10.0
    backoff_jitter: float = 0.2
    """The greatest share by which a pause is made longer or shorter."""
