"""What a fault is: a row of a table, with what it does and what takes it back."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from tests.chaos.rig import Chaos

Action = Callable[[Chaos], Awaitable[None]]


async def nothing(under: Chaos) -> None:
    """Nothing to take back: agent-tui recovers while other faults follow."""


async def warm_again(under: Chaos) -> None:
    """The wanted processes wait again, without a save."""
    await under.warm()


async def saved_again(under: Chaos) -> None:
    """A good save, whose code serves."""
    await under.saved()


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of fault. `act` does it and checks what has to hold meanwhile; `heal` takes it back and waits
    until it is gone."""

    name: str
    weight: int
    act: Action
    heal: Action = nothing
