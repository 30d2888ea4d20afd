"""Swaps the code of a job's running sessions, in place (conversation.md §4).

Their agents get the classes, tools, and instructions of another generation. History, attributes, and audio
are not touched.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import contextvars
import inspect
import logging
import os
import sys
import time
import types
import weakref
from typing import TYPE_CHECKING, Any, Callable, Coroutine

from . import loading, swap_notes
from .lk_agents import (
    ALL,
    METHODS,
    NONE,
    Built,
    Change,
    apply,
    built_agents,
    class_in,
    is_task,
    on_new,
    replace,
)
from .lk_sdk import Captured
from .swap_modules import ModuleTable

if TYPE_CHECKING:
    from .lk_sdk import Capture
    from .lk_tap import Tap, TappedSession
    from .process import HostLink

_log = logging.getLogger("agent-tui")

CASE = "swap_code"
"""The message of the host that this module receives."""

MOST_NOTES = 20


def install(link: HostLink, tap: Tap, capture: Capture, entry: Callable[..., Any]) -> Swapper:
    """Return the swapper of this job process. Call this in the job's context."""
    swapper = Swapper(link, tap, capture, entry)
    tap.on_change = swapper.wake
    on_new.append(swapper.adopt_later)
    return swapper


class Swapper:
    """Swaps the code of one job. Belongs to the job's event loop."""

    def __init__(self, link: HostLink, tap: Tap, capture: Capture, entry: Callable[..., Any]) -> None:
        self._file = link.spec.file
        self._send = link.send
        self._tap = tap
        self._capture = capture
        self._entry = inspect.unwrap(entry)
        self._loop = asyncio.get_running_loop()
        self._context = contextvars.copy_context()
        """The job's context, which constructors of agents may ask for."""
        self._changed = asyncio.Event()
        self._lock = asyncio.Lock()
        self._newest = 0
        """The newest generation that was requested."""
        self._table: ModuleTable | None = None
        """The modules in use; None for those that the process started with."""
        self._tasks: set[asyncio.Task[None]] = set()

    def receive(self, case: str, value: dict[str, Any]) -> None:
        """Swap to the code that the host sent. Called in the thread that reads the channel."""
        if not value["generation"]:  # the job was pinned
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._cancel)
            return
        sources = {path: base64.b64decode(content) for path, content in value["sources"].items()}
        with contextlib.suppress(RuntimeError):  # the loop has ended
            self._loop.call_soon_threadsafe(
                self._start, value["generation"], sources, context=self._context.copy()
            )

    def wake(self) -> None:
        """Check again whether a tool runs."""
        self._changed.set()

    def _cancel(self) -> None:
        """Drop the swap that waits for a tool."""
        self._newest = 0
        self.wake()

    def _start(self, generation: int, sources: dict[str, bytes]) -> None:
        self._newest = generation
        self.wake()
        self._run_task(self._run(generation, sources))

    async def _run(self, generation: int, sources: dict[str, bytes]) -> None:
        async with self._lock:
            if not await self._quiet(generation):
                return  # a later save replaced it, or no session is open
            before, sessions, started = self._table, self._tap.open_sessions, time.perf_counter()
            try:
                # In a thread, like the notes below: both take long enough to be heard as a gap in the audio.
                table = await asyncio.to_thread(
                    ModuleTable, self._file, sources, loading.project_paths(), loading.original, before
                )
                if not await self._quiet(generation):
                    return
                sessions, started = self._tap.open_sessions, time.perf_counter()
                reach, failures = await self._swap(table, sessions)
            except asyncio.CancelledError:
                raise
            except BaseException as error:  # also SystemExit, which the file may raise
                took = (time.perf_counter() - started) * 1000
                found = dict.fromkeys([each.number for each in sessions], (NONE, [self._why(error)]))
            else:
                took = (time.perf_counter() - started) * 1000
                general = await asyncio.to_thread(self._general_notes, table, before)
                found = {
                    each.number: (
                        reach[each.number],
                        list(dict.fromkeys([*failures, *general, *self._instances(table, each)])),
                    )
                    for each in sessions
                }
            for number, (reached, notes) in found.items():
                if len(notes) > MOST_NOTES:
                    notes = [*notes[:MOST_NOTES], f"{len(notes) - MOST_NOTES} more"]
                fields: dict[str, Any] = {"session": number, "generation": generation, "reached": reached}
                self._send("swapped", **fields, notes=notes, duration_ms=took)

    async def _quiet(self, generation: int) -> bool:
        """Wait until no tool runs: code of a class that the agent no longer has fails at `super()`.

        Return False if this swap is no longer needed.
        """
        reported: tuple[int, str] | None = None
        while generation == self._newest and (sessions := self._tap.open_sessions):
            tools = [(each.number, tool) for each in sessions if (tool := each.running_tool) is not None]
            if not tools:
                return True
            if reported not in tools:
                reported = tools[0]
                for each in sessions:
                    self._send("swap_waits", session=each.number, generation=generation, tool=reported[1])
            self._changed.clear()
            await self._changed.wait()
        return False

    async def _swap(
        self, table: ModuleTable, sessions: list[TappedSession]
    ) -> tuple[dict[int, str], list[str]]:
        """Run the changed modules and change all agents. Return what was reached, by session, and notes."""
        with self._capture.aside():
            if table.is_main_new:
                table.run_main(Captured)
            changes, notes = self._plan(table)
        await apply(changes, notes)
        self._table = table
        await self._hand_over(changes, notes, sessions)
        return {each.number: _reached(each, changes) for each in sessions}, list(notes.values())

    async def _hand_over(
        self, changes: list[Change], notes: dict[int, str], sessions: list[TappedSession]
    ) -> None:
        """Replace each current agent that cannot have its new class by a new one."""
        for change in changes:
            key = id(change.agent)
            for each in sessions:
                try:
                    replaced = await replace(change, each.session)
                except Exception as error:
                    notes[key] = f"{notes[key]}: no new agent could replace it: {_text(error)}"
                    break
                if replaced:
                    notes[key] = (
                        f"references to the agent of class {change.new.__qualname__}: a new one replaced it, "
                        "because the object layout differs"
                    )

    # -- agents -------------------------------------------------------------------------------------------

    def _plan(self, table: ModuleTable) -> tuple[list[Change], dict[int, str]]:
        """Return the agents whose class has another version, and why some cannot get it, by `id`.

        Agents that are not in a session now are among them: one may be handed the session later.
        """
        changes, notes = [], {}
        for built in list(built_agents.values()):
            if (agent := built.agent()) is None:
                continue
            change, why = self._change(table, agent, built)
            if change is not None:
                changes.append(change)
            if why:
                notes[id(agent)] = why
        return changes, notes

    def _change(self, table: ModuleTable, agent: Any, built: Built) -> tuple[Change | None, str]:
        old = type(agent)
        if not self._is_swappable(table, old.__module__):
            return None, ""
        new = class_in(table.module(old.__module__), old.__qualname__)
        if new is old:
            return None, ""
        change = Change(agent, built, old, old if new is None else new)
        change.before = list(agent._tools), agent.instructions
        name, path = old.__qualname__, table.path(old.__module__) or self._file
        if new is None:
            change.reached = NONE
            gone = f"is no longer in {self._shown(path)}"
            where = "is defined in a function" if "<locals>" in name else gone
            return change, f"class {name} {where}: its agent keeps its code"
        if is_task(new) != is_task(old):
            change.reached, now = NONE, "now" if is_task(new) else "no longer"
            return change, f"class {name} is {now} an AgentTask: its agent keeps its code"
        try:
            change.donor = new(*built.args, **built.kwargs)
            built_agents.pop(id(change.donor), None)
        except Exception as error:
            change.reached = METHODS
            why = f"{name}(...) raised {_text(error)}"
            return change, f"{why}: instructions and added tools stay as they were"
        return change, ""

    def _is_swappable(self, table: ModuleTable, module: str) -> bool:
        return module in table.modules or (self._table is not None and module in self._table.modules)

    def adopt_later(self, agent: Any) -> None:
        """Change a new agent soon if older code built it, as the rest of an entry function does."""
        reference = weakref.ref(agent)
        if self._table is not None and type(agent).__module__ in self._table.modules:
            with contextlib.suppress(RuntimeError):  # the loop has ended
                self._loop.call_soon_threadsafe(
                    lambda: self._run_task(self._adopt(reference)), context=self._context.copy()
                )

    async def _adopt(self, reference: weakref.ref[Any]) -> None:
        async with self._lock:
            agent, table = reference(), self._table
            built = built_agents.get(id(agent))
            if agent is None or table is None or built is None:
                return
            try:
                change, _ = self._change(table, agent, built)
                if change is not None:
                    await apply([change], {})
            except Exception as error:
                _log.warning("agent-tui cannot give a new %s the saved code: %s", type(agent).__name__, error)

    def _run_task(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # -- notes --------------------------------------------------------------------------------------------

    def _general_notes(self, table: ModuleTable, before: ModuleTable | None) -> list[str]:
        """Return what no session of the job gets: code that has run already, and values of modules."""
        notes: list[str] = []
        entry = getattr(self._entry, "__name__", "")
        code = getattr(self._entry, "__code__", None)
        entry_file = os.path.abspath(code.co_filename) if code is not None else self._file
        for file, content in table.sources.items():
            old = loading.original(file)
            if old is not None:
                at = entry if file == entry_file else ""
                notes += swap_notes.entry_notes(old, content, at, self._shown(file))
        for name, module in table.modules.items():
            earlier = (before.modules.get(name) if before is not None else None) or sys.modules.get(name)
            path = table.path(name)
            if module is None or earlier is None or module is earlier or path is None:
                continue
            text = loading.original(path) if before is None else before.content(path)
            values = swap_notes.unchanged_values(text or b"", table.content(path) or b"")
            for variable, line in values.items():
                if _is_lost(vars(earlier).get(variable), vars(module).get(variable)):
                    notes.append(f"{self._shown(path)}:{line} {variable} was re-created")
        return notes

    def _instances(self, table: ModuleTable, session: TappedSession) -> list[str]:
        """Return which objects of a session are still instances of a class that changed."""
        notes = []
        for what in ("userdata", "llm", "stt", "tts", "vad"):
            held = getattr(session.session, f"_{what}", None)
            cls = type(held)
            path = table.path(cls.__module__) if cls.__module__ in table.modules else None
            if path is None or "<locals>" in cls.__qualname__:
                continue
            old, new = loading.original(path), table.content(path)
            if swap_notes.class_changed(old or b"", new or b"", cls.__qualname__):
                notes.append(f"{what} of the session is an instance of the earlier class {cls.__qualname__}")
        return notes

    def _shown(self, path: str) -> str:
        folder = os.path.dirname(self._file) + os.sep
        return path[len(folder) :] if path.startswith(folder) else path

    def _why(self, error: BaseException) -> str:
        described = loading.describe(error, self._file)
        where = f"{self._shown(described['file'])}:{described['line']} " if described["line"] else ""
        return f"{where}{described['error']}: the session keeps its code"


def _reached(session: TappedSession, changes: list[Change]) -> str:
    current = getattr(session.session, "_agent", None)
    own = [each for each in changes if getattr(each.agent._activity, "_session", None) is session.session]
    if any(each.agent is current and each.reached == NONE for each in changes):
        return NONE
    return ALL if all(each.reached == ALL for each in own) else METHODS


def _is_lost(old: Any, new: Any) -> bool:
    """Return whether the value of a module's variable was not carried over."""
    if old is new or isinstance(old, (type, types.FunctionType, types.ModuleType)):
        return False
    if type(old).__module__ == "builtins" and type(old) is type(new):
        with contextlib.suppress(Exception):
            return bool(old != new)
    return type(old).__name__ != "AgentServer"


def _text(error: BaseException) -> str:
    return str(loading.describe(error)["error"])
