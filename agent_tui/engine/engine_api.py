"""All that a front end may use of the engine: its state, commands and requests, as data."""

from typing import Protocol

from agent_tui.engine.bus import Subscription
from agent_tui.model.commands import Command, CommandResult
from agent_tui.model.requests import A, Asks
from agent_tui.model.state import AppState


class EngineAPI(Protocol):
    """The engine as front ends see it; tests give them another one."""

    @property
    def up(self) -> bool:
        """Whether commands are taken."""
        ...

    @property
    def state(self) -> AppState:
        """What a front end draws itself from, as of now."""
        ...

    async def closed(self) -> None:
        """Wait until all has ended, and the state is the last one."""
        ...

    def subscribe(self, limit: int = ...) -> Subscription:
        """The state and the events after it."""
        ...

    async def send(self, command: Command) -> CommandResult: ...
    async def request(self, request: Asks[A]) -> A:
        """Return what is not in the state, as frozen data. Raise UserError."""
        ...

    async def __aenter__(self) -> object: ...
    async def __aexit__(self, kind: object, error: BaseException | None, trace: object, /) -> None: ...
