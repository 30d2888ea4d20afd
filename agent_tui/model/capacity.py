"""Decides when a worker's load keeps it from getting offers."""

TARGET_LOAD = 0.7
"""At this load or above, a server does not offer jobs even to its only worker (worker-protocol §6.1)."""


def is_full(measured: float, threshold: float) -> bool:
    """Return whether a worker reports to the server that it is full: its load has reached `loadThreshold`."""
    return measured >= threshold
