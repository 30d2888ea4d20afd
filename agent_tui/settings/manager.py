"""Holds the settings in effect: edits, loads, and saved files change them here.

An edit or a load applies completely or not at all. Changed options are pushed to the parts that use them
(`Effect`). If one part rejects its new value, all parts get the old values back.
"""

import asyncio
import errno
import os
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from agent_tui.files import shown_path
from agent_tui.model.child import Manifest
from agent_tui.model.errors import UserError
from agent_tui.model.events import Event, Notice, OptionsChanged, SettingsChanged
from agent_tui.model.logs import LogLevel
from agent_tui.options.configfile import (
    ALLOW_REMOTE,
    NAME,
    ConfigFile,
    named_config,
    reference_problem,
    save,
    save_allowed,
)
from agent_tui.options.declare import BY_NAME, Effect, ServerOptions
from agent_tui.options.envfiles import Environment, FileProblem
from agent_tui.options.resolve import Resolution, convert
from agent_tui.processes.timings import ProcessTimings
from agent_tui.runtimes.python import ChildSettings
from agent_tui.runtimes.threads import off_loop
from agent_tui.settings.settings import (
    Changes,
    Settings,
    changes,
    check_functions,
    ignored,
    named_functions,
)
from agent_tui.worker.messages import JobType, Registration

ACCEPT_S = 10.0
"""How long to wait for the server to accept a changed registration."""

LOADS = frozenset({Effect.SERVER, Effect.CODE})
"""Effects that need a load, since the agent's code sees these options too."""

REGISTERS = frozenset({Effect.SERVER, Effect.REGISTRATION})

_JOB_TYPES = {
    "room": JobType.ROOM,
    "publisher": JobType.PUBLISHER,
    "participant": JobType.PARTICIPANT,
}

CONFIG_FILE = "config file"
"""What notices about saving are about."""

Push = Callable[[ServerOptions], Awaitable[None] | None]
"""Passes new options to a part of the engine.

A part that rejects them raises UserError and keeps the old options.
"""


@dataclass(frozen=True, slots=True)
class Edited:
    """The result of an edit: the options that changed, and the names of those that need a restart."""

    changed: Changes
    waiting: tuple[str, ...]


class SettingsManager:
    """Holds the settings in effect, and changes them.

    Edits and saves run one at a time: each holds the lock. A load must not wait for the lock, because an edit
    that needs a load waits for it while holding the lock. It does not need the lock either: loads and edits
    replace different fields of the settings, each in one step without an await, and the settings are pushed
    to the parts only after that.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        read_environment: Callable[[], Environment],
        emit: Callable[[Event], None],
        watchdogs: bool = True,
        accept_s: float = ACCEPT_S,
    ) -> None:
        """`read_environment` reads environment files and the config file again; it may block for seconds.

        Without `watchdogs` no process is ended for being unresponsive or slow.
        """
        self._current = settings
        self._read_environment = read_environment
        self._emit = emit
        self._watchdogs = watchdogs
        self._accept_s = accept_s
        self._pushes: Mapping[Effect, Push] = {}
        self._lock = asyncio.Lock()
        self._disk_full = False
        """Whether the last write of the config file failed because the disk is full."""
        self._problems = settings.environment.problems
        """Problems in environment and config files that are not solved yet.

        The engine reports those that exist when it starts.
        """

    def push_to(
        self, owners: Mapping[Effect, Push], wait_until_accepted: Callable[[], Awaitable[str]]
    ) -> None:
        """Push changes to these parts from now on.

        `wait_until_accepted` waits for the server's answer to a changed registration, and returns why it was
        refused; empty if it was accepted.
        """
        self._pushes = {effect: owners[effect] for effect in Effect if effect in owners}
        self._wait_until_accepted = wait_until_accepted

    # -- what is in effect ----------------------------------------------------------------------------

    @property
    def current(self) -> Settings:
        """The settings in effect. Setting them emits `SettingsChanged` if their `view` changes."""
        return self._current

    @current.setter
    def current(self, settings: Settings) -> None:
        view = settings.view  # raises for invalid settings, before they apply
        different = view != self._current.view
        self._current = settings
        if different:
            self._emit(SettingsChanged(view))

    @property
    def resolution(self) -> Resolution:
        return self.current.resolution

    @property
    def options(self) -> ServerOptions:
        return self.current.options

    @property
    def environment(self) -> Environment:
        return self.current.environment

    def process_timings(self) -> ProcessTimings:
        """Return the process timeouts under the options in effect."""
        options = self.options
        timings = ProcessTimings(
            initialize_s=options.initialize_process_timeout / 1000,
            shutdown_s=options.shutdown_process_timeout / 1000,
            session_end_s=options.session_end_timeout / 1000,
        )
        return timings if self._watchdogs else timings.without_watchdogs()

    # -- a load ---------------------------------------------------------------------------------------

    async def read(self) -> Environment:
        """Read the environment files and the config file again. Emit a warning for each new problem."""
        environment = await off_loop(self._read_environment)
        self._report(environment.problems)
        return environment

    def _report(self, problems: tuple[FileProblem, ...]) -> None:
        """Emit a warning for each new problem in the files, and a notice for each one that is now solved."""
        for problem in self._problems:
            if problem not in problems:
                self._emit(Notice(LogLevel.INFO, f"solved: {problem.text}", problem.text))
        for problem in problems:
            if problem not in self._problems:
                self._emit(notice_of(problem))
        self._problems = problems

    def check(self, manifest: Manifest, environment: Environment) -> Settings:
        """Return the settings that a load would apply, with the current edits.

        Raise UserError if they are invalid.
        """
        proposed = replace(self.current, environment=environment, manifest=manifest)
        check_functions(proposed.resolution, manifest)
        registration_for(proposed.options, "")
        return proposed

    async def apply(self, proposed: Settings) -> None:
        """Apply the settings of a load.

        If a part rejects its options, restore the old settings and raise UserError.
        """
        assert proposed.manifest is not None
        before = self.current
        # Includes edits made since the check. Set before anything is awaited, so that later edits add to it.
        wanted = self.current = self.check(proposed.manifest, proposed.environment)
        effects = self._pushes.keys() - LOADS
        try:
            await self._push(effects)
        except BaseException:
            self.current = replace(self.current, environment=before.environment, manifest=before.manifest)
            await self._push_back({Effect.LISTENER})
            raise
        self._report_ignored(before, wanted)
        for name in sorted(proposed.manifest.options.keys() - BY_NAME.keys()):
            self._warn(f"{name}, set in the agent's code, has no effect here")
        if before.manifest is not None and (changed := changes(before, wanted)):
            self._emit(OptionsChanged(changed))

    # -- edits ----------------------------------------------------------------------------------------

    async def edit(self, change: Callable[[Settings], Settings]) -> Edited:
        """Apply edits, and return what changed.

        If a value is invalid, or a part or the server rejects it, restore the old values and raise UserError.
        """
        async with self._lock:
            before = self.current
            wanted = change(before)
            registration_for(wanted.options, "")
            changed = changes(before, wanted)
            effects = {BY_NAME[name].effect for name in changed}
            self.current = wanted
            try:
                await self._push(effects)
                if effects & REGISTERS:
                    await self._accepted()
            except BaseException:
                self.current = replace(
                    self.current, edits=before.edits, history=before.history, measuring=before.measuring
                )
                await self._push_back(effects)
                raise
            if changed:
                self._emit(OptionsChanged(changed))
            self._report_ignored(before, wanted)
            waiting = [name for name, given in wanted.later.items() if before.later.get(name) != given]
            return Edited(changed, tuple(waiting))

    async def save(self, agent: Path, *, clear_secrets: bool) -> list[str]:
        """Write the edits to the config file, and return messages for the user.

        Without a config file, create one beside the agent's file. Raise UserError if there are no edits or
        the file cannot be written.
        """
        async with self._lock:
            settings = self.current
            if not settings.edits:
                raise UserError("there are no edits to save")
            file = self._config_file(agent)
            values = {name: convert(BY_NAME[name], given) for name, given in settings.edits.items()}
            variables = settings.environment.variables
            held_back = {
                name: why
                for name, value in values.items()
                if not clear_secrets and (why := reference_problem(BY_NAME[name], value, variables))
            }
            kept = {name: value for name, value in values.items() if name not in held_back}
            await self._write(file, agent, partial(save, file, kept, clear_secrets=clear_secrets))
            shown = shown_path(file.path, os.environ, agent.parent)
            environment = await off_loop(self._read_environment)
            self.current = self.current.saved(environment, held_back.keys())
            return [f"{', '.join(kept)} saved to {shown}"] * bool(kept) + list(held_back.values())

    async def allow_remote(self, agent: Path, host: str) -> str:
        """Add a host to the config file's `allowRemote`, and return a message for the user.

        Without a config file, create one beside the agent's file. Raise UserError if it cannot be written.
        """
        async with self._lock:
            file = self._config_file(agent)
            await self._write(file, agent, partial(save_allowed, file, host))
        return f"{ALLOW_REMOTE} = {host} saved to {shown_path(file.path, os.environ, agent.parent)}"

    # -- parts ----------------------------------------------------------------------------------------

    def _config_file(self, agent: Path) -> ConfigFile:
        path = self.current.environment.config_file
        return named_config(path) if path else ConfigFile(agent.parent / NAME)

    async def _write(self, file: ConfigFile, agent: Path, write: Callable[[], None]) -> None:
        shown = shown_path(file.path, os.environ, agent.parent)
        try:
            await asyncio.to_thread(write)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                self._disk_full = True
                text = f"{os.strerror(error.errno).lower()}: {shown} not saved"
                self._emit(
                    Notice(LogLevel.ERROR, text, CONFIG_FILE, "free space on that disk, then save again")
                )
            raise UserError(f"not saved: {error.strerror or error}: {shown}") from None
        except ValueError as error:
            raise UserError(f"not saved: {error}") from None
        if self._disk_full:
            self._disk_full = False
            self._emit(Notice(LogLevel.INFO, f"{shown} saved", CONFIG_FILE))

    async def _push(self, effects: Collection[Effect]) -> None:
        """Push the options in effect to the parts. The first part that rejects them raises UserError."""
        for effect, push in self._pushes.items():
            if effect in effects:
                done = push(self.current.options)
                if done is not None:
                    await done

    async def _push_back(self, effects: Collection[Effect]) -> None:
        """Push the restored options to the parts. If a part rejects them, emit a warning and continue."""
        for effect in self._pushes:
            try:
                await self._push({effect} & set(effects))
            except UserError as error:
                if effect not in LOADS:  # a load reports its own failure
                    self._warn(f"some old options could not be restored: {error}")

    async def _accepted(self) -> None:
        try:
            async with asyncio.timeout(self._accept_s):
                refusal = await self._wait_until_accepted()
        except TimeoutError:
            refusal = f"the server did not accept them within {self._accept_s:g} s"
        if refusal:
            raise UserError(f"{refusal}; the old values are kept")

    def _report_ignored(self, before: Settings, after: Settings) -> None:
        for line in ignored(before, after):
            self._warn(line)

    def _warn(self, text: str) -> None:
        self._emit(Notice(LogLevel.WARN, text))


def notice_of(problem: FileProblem) -> Notice:
    """Return the warning about a problem in an environment file."""
    file = None if problem.file is None else str(problem.file.absolute())
    return Notice(LogLevel.WARN, problem.text, problem.text, file=file, line=problem.line)


def registration_for(options: ServerOptions, version: str) -> Registration:
    """Return the worker's registration under these options. Raise UserError for an unusable value."""
    return Registration(
        options.agent_name, _JOB_TYPES[options.server_type], options.permissions, options.deployment, version
    )


def child_settings(settings: Settings) -> ChildSettings:
    """Return the settings for processes that run the agent. Raise UserError if an option is invalid."""
    functions, options = named_functions(settings.resolution), settings.options
    return ChildSettings(
        options.session_end_timeout,
        functions.get("requestFunc", ""),
        functions.get("loadFunc", ""),
        options.production,
    )
