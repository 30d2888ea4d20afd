"""A dispatch as its room keeps it."""

import asyncio
from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class DispatchRecord:
    """One AgentDispatch; `dispatch.state.jobs` are those that a worker took (worker-protocol §11.2)."""

    dispatch: Any
    expected: bool = True
    """Whether somebody asked for it: the implicit one of a room that CreateDispatch made goes unasked."""
    placing: set[asyncio.Task[Any]] = field(default_factory=set)
    """Jobs still being offered."""
