"""All that a front end may use of the engine: its state, commands, and requests, as data."""

from typing import Protocol

from agent_tui.engine.bus import Subscription
from agent_tui.model.commands import Command, CommandResult
from agent_tui.model.requests import A, Asks
from agent_tui.model.state import AppState


class EngineAPI(Protocol):
    """The engine as front ends see it; tests replace it."""

    @property
    def up(self) -> bool:
        """Whether commands are accepted."""
        ...

    @property
    def state(self) -> AppState:
        """The current state, from which a front end draws itself."""
        ...

    async def closed(self) -> None:
        """Wait until everything has ended and the state is final."""
        ...

    def subscribe(self, limit: int = ...) -> Subscription:
        """Subscribe to the state and the events after it."""
        ...

    async def send(self, command: Command) -> CommandResult: ...
    async def request(self, request: Asks[A]) -> A:
        """Return frozen data that is not in the state. Raise UserError if it is not available."""
        ...

    async def __aenter__(self) -> object: ...
    async def __aexit__(self, kind: object, error: BaseException | None, trace: object, /) -> None: ...
