"""How long the local server waits for what. All values in seconds; tests shrink them."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Timings:
    """The real server's times (worker-protocol §4, §5, §6.3, §11.1), each with its own reason to exist."""

    register_s: float = 10.0
    """From the upgrade to the register message; absolute, pings do not extend it."""
    answer_budget_s: float = 3.0
    """For one job over all workers that are asked: a slow refusal shortens the next worker's time."""
    simulate_answer_s: float = 10.0
    """For the one worker that asked to be offered a simulated job."""
    websocket_ping_s: float = 10.0
    """Between the server's websocket PINGs; a missing PONG has no consequence."""
    close_handshake_s: float = 1.0
    """For a worker to answer our close frame, before the connection is cut."""
    empty_room_s: float = 300.0
    """A room that nobody ever joined is closed after this, unless the room asked for another time."""
    departed_room_s: float = 20.0
    """A room that everybody left is closed after this, unless the room asked for another time."""
    room_check_s: float = 1.0
    """Between two looks for rooms to close."""
