"""All that a front end may use of the engine."""

from typing import TYPE_CHECKING, Protocol

from agent_tui.engine.bus import Subscription
from agent_tui.model.commands import Command, CommandResult
from agent_tui.model.logs import LogLevel, LogLine
from agent_tui.model.state import AppState
from agent_tui.options.resolve import Resolution
from agent_tui.settings.settings import Settings

if TYPE_CHECKING:  # the screen's first frame need not wait for what signs tokens
    from agent_tui.engine.join import JoinLink


class Handle(Protocol):
    """The engine as front ends see it; tests give them another one."""

    @property
    def resolution(self) -> Resolution:
        """The options in force, each with its source."""
        ...

    @property
    def settings(self) -> Settings:
        """The options in force, and what waits for the next start."""
        ...

    @property
    def function_names(self) -> tuple[str, ...]:
        """Functions of the agent's file that options may name; none before it has loaded."""
        ...

    @property
    def log_level(self) -> LogLevel:
        """The level from which on lines are to be shown."""
        ...

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

    def logs(self, first: int, end: int) -> tuple[LogLine, ...]:
        """Stored lines with first ≤ index < end; those that were evicted are missing at the front."""
        ...

    def join_link(self, room: str) -> "JoinLink":
        """A way for a person into a room. Raises UserError where nobody can join."""
        ...

    async def send(self, command: Command) -> CommandResult: ...
    async def __aenter__(self) -> object: ...
    async def __aexit__(self, kind: object, error: BaseException | None, trace: object, /) -> None: ...
