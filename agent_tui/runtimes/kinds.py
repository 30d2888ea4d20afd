"""The kinds of agent files: all that the host knows of each, in one table.

The child's side of it is in `child/process.py`.
"""

from dataclasses import dataclass

from agent_tui.model.child import ChildTraits, MemoryMeasure

LIVEKIT_AGENTS = "livekit-agents"
NATIVE = "native"


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of Python agent file."""

    traits: ChildTraits
    sdk: str = ""
    """The module without which such a file does not load; every process of it needs it."""
    package: str = ""
    """What installs that module."""
    warm_up: tuple[str, ...] = ()
    """Modules that job processes need beside it."""

    @property
    def sdk_modules(self) -> tuple[str, ...]:
        return (self.sdk,) if self.sdk else ()


KINDS = {
    NATIVE: Kind(ChildTraits(stacks=True, reports_loading=True, memory=MemoryMeasure.RSS)),
    LIVEKIT_AGENTS: Kind(
        ChildTraits(stacks=True, reports_loading=True, memory=MemoryMeasure.PSS),
        sdk="livekit.agents",
        package="livekit-agents",
        warm_up=("livekit.agents.ipc._preload",),
    ),
}
