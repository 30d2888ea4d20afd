"""The settings in force as front ends show them: plain data, secrets masked."""

from collections.abc import Mapping

from msgspec import Struct, field

from agent_tui.model.logs import LogLevel
from agent_tui.options.declare import DefaultsContext, ServerOptions
from agent_tui.options.resolve import Resolution, resolve


class SettingsView(Struct, frozen=True):
    """The options with their sources, and what was edited."""

    resolution: Resolution
    context: DefaultsContext
    edited: tuple[str, ...] = ()
    """Options whose edits are not saved yet."""
    pending: Mapping[str, str] = field(default_factory=dict)
    """Edits that wait for the next start, as one would type them."""
    function_names: tuple[str, ...] = ()
    """Functions of the agent's file that options may name; none before it has loaded."""
    can_undo: bool = False

    @property
    def options(self) -> ServerOptions:
        """The options in force."""
        return self.resolution.options

    @property
    def log_level(self) -> LogLevel:
        """The level from which on lines are to be shown."""
        return LogLevel[self.options.log_level.upper()]


DEFAULTS = SettingsView(resolve((), DefaultsContext()), DefaultsContext())
"""Before the start, when nothing is known yet."""
