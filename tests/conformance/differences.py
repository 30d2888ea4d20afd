"""Where the embedded server differs on purpose; docs/local-server.md gives the reasons.

Each row states what each server does; a test that touches one reads its expectation here.
"""

from typing import Any, Final

DIFFERENCES: Final[dict[str, dict[str, Any]]] = {
    "list dispatches of an unknown room": {
        "embedded": ("not_found", 404),
        "livekit-server": ("unavailable", 503),
    },
    "joining a room over /rtc": {"embedded": 501, "livekit-server": 401},
    "simulate a job without a room": {"embedded": "refused", "livekit-server": "exits"},
    "method of another service": {"embedded": ("unimplemented", 501), "livekit-server": ("internal", 500)},
    "seconds from a dispatch to its offer, at least": {"embedded": 0.0, "livekit-server": 0.15},
}
