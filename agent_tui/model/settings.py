"""The settings in effect as front ends show them: plain data, secrets masked."""

from collections.abc import Mapping

from msgspec import Struct, field

from agent_tui.model.logs import LogLevel
from agent_tui.options.declare import DefaultsContext, ServerOptions
from agent_tui.options.resolve import Resolution, resolve


class SettingsView(Struct, frozen=True):
    """The options with their sources, and the edits."""

    resolution: Resolution
    context: DefaultsContext
    edited: tuple[str, ...] = ()
    """The names of options whose edits are not saved yet."""
    pending: Mapping[str, str] = field(default_factory=dict)
    """Edits that take effect at the next start, as typed."""
    function_names: tuple[str, ...] = ()
    """Functions in the agent file that options may name. Empty until it has loaded."""
    can_undo: bool = False

    @property
    def options(self) -> ServerOptions:
        """The options in effect."""
        return self.resolution.options

    @property
    def log_level(self) -> LogLevel:
        """The lowest level of lines to show."""
        return LogLevel[self.options.log_level.upper()]


DEFAULTS = SettingsView(resolve((), DefaultsContext()), DefaultsContext())
"""The settings before the start."""
