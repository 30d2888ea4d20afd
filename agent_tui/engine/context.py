"""What all parts of one run share."""

from collections.abc import Callable
from dataclasses import dataclass

from agent_tui.engine.config import RunConfig
from agent_tui.logs.intake import LogIntake
from agent_tui.logs.store import LogStore
from agent_tui.model.clock import Clock
from agent_tui.model.events import Event


@dataclass(frozen=True, slots=True)
class Context:
    """One run: what it was asked to be, what it uses, and where its events go."""

    config: RunConfig
    clock: Clock
    emit: Callable[[Event], None]
    store: LogStore
    intake: LogIntake
