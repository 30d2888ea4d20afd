"""A kind of fault is a row of a table: its name, its weight, what it does, and what undoes it."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from tests.chaos.rig import Chaos

Action = Callable[[Chaos], Awaitable[None]]


async def nothing(under: Chaos) -> None:
    """Do nothing: agent-tui recovers while other faults follow."""


async def warm_again(under: Chaos) -> None:
    """Wait until the wanted number of processes is idle, without a save."""
    await under.warm()


async def saved_again(under: Chaos) -> None:
    """Save good code, and wait until it serves."""
    await under.saved()


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of fault. `act` causes it and checks what must hold during it. `heal` undoes it, and waits
    until agent-tui has recovered.
    """

    name: str
    weight: int
    act: Action
    heal: Action = nothing
