"""When a worker is offered nothing, for its load's sake."""

TARGET_LOAD = 0.7
"""From here on a server passes a lone worker by, whatever its status (worker-protocol §6.1)."""


def is_full(measured: float, threshold: float) -> bool:
    """Whether a worker tells the server that it is full: from `loadThreshold` on."""
    return measured >= threshold
