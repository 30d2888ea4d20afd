"""The settings in force as front ends show them: plain data, secrets masked."""

from dataclasses import dataclass

from agent_tui.options.declare import ServerOptions


@dataclass(frozen=True, slots=True)
class OptionView:
    """One option: its value as one would type it, and where that came from."""

    name: str
    text: str
    layer: str
    """`default`, `environment`, `flag`, `edited` …"""
    where: str
    """The place in that layer, such as `LIVEKIT_URL in .env:3`; may be empty."""
    is_edited: bool = False
    """Whether an edit of it is not saved yet."""
    pending: str | None = None
    """The edit that waits for the next start."""


@dataclass(frozen=True, slots=True)
class SettingsView:
    """All options, in the order of their declarations."""

    options: ServerOptions
    rows: tuple[OptionView, ...]
    function_names: tuple[str, ...] = ()
    """Functions of the agent's file that options may name; none before it has loaded."""
    can_undo: bool = False
