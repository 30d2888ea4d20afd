"""The agents of a job: how each was built, and what it takes to give it another version of its class.

The class of a live agent is replaced, so its attributes and history stay (conversation.md §4.1).
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import importlib
import weakref
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Callable

if TYPE_CHECKING:
    import types

ALL, METHODS, NONE = "all", "methods", "none"
"""What an agent got: everything; all but added tools and instructions; nothing."""


@dataclass
class Built:
    """How an agent was built, to build another one like it."""

    agent: weakref.ref[Any]
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    instructions: Any = None
    """What its constructor set. The agent's own may have changed since."""
    tools: list[str] = field(default_factory=list)
    """The ids of the tools that its constructor set."""

    def note(self, agent: Any) -> None:
        """Remember what the constructor set."""
        self.instructions, self.tools = agent.instructions, [tool.id for tool in agent._tools]


built_agents: dict[int, Built] = {}
"""All live agents, by `id`. Their `__eq__` and `__hash__` are the user's and may not work."""


on_new: list[Callable[[Any], None]] = []
"""Called with each new agent, before its constructor has run."""


def patch() -> None:
    """Record the constructor's arguments of each `Agent`. Call this before the agent's file runs."""
    with contextlib.suppress(ImportError, AttributeError):
        agent = importlib.import_module("livekit.agents.voice.agent").Agent
        if "__new__" not in vars(agent):
            agent.__new__ = staticmethod(_recording_new(agent))
            agent.__init__ = _recording_init(agent.__init__)


def _recording_new(base: Any) -> Callable[..., Any]:
    def new(cls: Any, *args: Any, **kwargs: Any) -> Any:
        make = super(base, cls).__new__
        agent = make(cls) if make is object.__new__ else make(cls, *args, **kwargs)
        key = id(agent)
        built_agents[key] = Built(weakref.ref(agent, lambda _: built_agents.pop(key, None)), args, kwargs)
        for watch in on_new:
            watch(agent)
        return agent

    return new


def _recording_init(init: Callable[..., None]) -> Callable[..., None]:
    @functools.wraps(init)
    def recorded(self: Any, *args: Any, **kwargs: Any) -> None:
        init(self, *args, **kwargs)
        if (built := built_agents.get(id(self))) is not None:
            built.note(self)

    return recorded


@dataclass
class Change:
    """One agent, its new class, and how much of that class it got."""

    agent: Any
    built: Built
    old: type
    new: type
    donor: Any = None
    reached: str = ALL
    before: tuple[Any, Any] = (None, None)
    """Tools and instructions before the swap."""
    is_refused: bool = False
    """Whether the agent cannot have the class, because the layout of its objects differs."""


async def apply(changes: list[Change], notes: dict[int, str]) -> None:
    """Change the agents. If one fails in an unexpected way, change all back and raise its error."""
    done: list[Change] = []
    try:
        for change in changes:
            if change.reached == NONE:
                continue
            try:
                change.agent.__class__ = change.new
            except TypeError as error:
                change.reached, change.is_refused = NONE, True
                notes[id(change.agent)] = (
                    f"class {change.old.__qualname__}: {error}: its agent keeps its code"
                )
                continue
            done.append(change)
        for change in done:
            await _take_over(change)
    except BaseException:
        for change in done:
            change.agent.__class__ = change.old
            tools, instructions = change.before
            await change.agent.update_tools(tools)
            if change.agent.instructions != instructions:
                await change.agent.update_instructions(instructions)
        raise
    for change in done:
        if change.donor is not None:
            change.built.note(change.donor)
            change.donor = None


async def replace(change: Change, session: Any) -> bool:
    """Hand the session to the donor of a change that was refused; return whether that was possible.

    The donor gets the history and the attributes of the agent. Neither `on_exit` nor `on_enter` runs, since
    the user would be greeted again (conversation.md §4.3). Waits for the end of the current speech.
    """
    agent, donor = change.agent, change.donor
    is_current = session._agent is agent and session._activity is agent._activity is not None
    if not change.is_refused or donor is None or not is_current or is_task(change.old):
        return False
    await donor.update_chat_ctx(agent.chat_ctx)
    known = vars(importlib.import_module("livekit.agents.voice.agent").Agent(instructions="")).keys()
    slots = [name for cls in change.old.__mro__ for name in _slots(cls)]
    for name in [*vars(agent), *slots]:
        if name not in known and hasattr(agent, name):
            with contextlib.suppress(AttributeError):  # the new class has a property of that name
                setattr(donor, name, getattr(agent, name))
    key = id(donor)
    reference = weakref.ref(donor, lambda _: built_agents.pop(key, None))
    built_agents[key] = Built(reference, change.built.args, change.built.kwargs)
    built_agents[key].note(donor)
    agent.on_exit = donor.on_enter = _nothing
    try:
        session.update_agent(donor)
        await asyncio.shield(session._update_activity_atask)
        if (entering := getattr(session._activity, "_on_enter_task", None)) is not None:
            await asyncio.wait({entering})
    finally:
        del agent.on_exit, donor.on_enter
    change.agent, change.donor, change.reached = donor, None, ALL
    return True


async def _nothing() -> None:
    pass


def _slots(cls: type) -> tuple[str, ...]:
    found = vars(cls).get("__slots__", ())
    names = (found,) if isinstance(found, str) else tuple(found)
    return tuple(name for name in names if name not in ("__dict__", "__weakref__"))


async def _take_over(change: Change) -> None:
    """Give the agent the tools and instructions of its new class."""
    agent, donor, built = change.agent, change.donor, change.built
    tools = list(agent._tools)
    if donor is not None:
        wanted = {tool.id: tool for tool in donor._tools}
        if [tool.id for tool in tools] == built.tools:
            tools = list(wanted.values())
        else:  # the agent has changed its tools since, and keeps what it changed
            gone = set(built.tools) - wanted.keys()
            have = {tool.id for tool in tools}
            tools = [wanted.get(tool.id, tool) for tool in tools if tool.id not in gone]
            tools += [tool for name, tool in wanted.items() if name not in {*have, *built.tools}]
    await agent.update_tools([_bound(tool, change) for tool in tools])
    if donor is not None and donor.instructions != built.instructions:
        await agent.update_instructions(donor.instructions)


def _bound(tool: Any, change: Change) -> Any:
    """Return the tool of the new class with this name, bound to the agent; other tools as they are."""
    llm = importlib.import_module("livekit.agents.llm.tool_context")
    if isinstance(tool, llm.Toolset):  # the agent's own may hold a connection
        return next((each for each in change.agent._tools if each.id == tool.id), tool)
    kinds = (llm.FunctionTool, llm.RawFunctionTool)
    if (
        isinstance(tool, kinds)
        and tool._instance in (change.donor, change.agent)
        and tool._instance is not None
    ):
        for cls in change.new.__mro__:
            for each in vars(cls).values():
                if isinstance(each, kinds) and each.info.name == tool.info.name:
                    return each.__get__(change.agent, change.new)
    return tool


def class_in(module: types.ModuleType | None, qualname: str) -> type | None:
    found: Any = module
    for name in qualname.split("."):
        found = vars(found).get(name) if found is not None and hasattr(found, "__dict__") else None
    return found if isinstance(found, type) else None


def is_task(cls: type) -> bool:
    return issubclass(cls, importlib.import_module("livekit.agents.voice.agent").AgentTask)
