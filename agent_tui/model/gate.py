"""When servers offer nothing."""

TARGET_LOAD = 0.7
"""From here on a server passes a lone worker by, whatever its status (worker-protocol §6.1)."""
