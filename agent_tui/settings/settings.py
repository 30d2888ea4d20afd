"""The effective options of a run: layers (defaults, environment, agent's code, flags, …) and edits."""

import getpass
import os
import re
import socket
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, cast

import agent_tui
from agent_tui.model.child import Manifest
from agent_tui.model.errors import UserError
from agent_tui.model.requests import Secrets
from agent_tui.model.settings import SettingsView
from agent_tui.options.declare import (
    BY_NAME,
    MAX_DEPLOYMENT_BYTES,
    OPTIONS,
    DefaultsContext,
    Effect,
    OptionValue,
    ServerOptions,
)
from agent_tui.options.envfiles import Environment
from agent_tui.options.kinds import MASK
from agent_tui.options.resolve import (
    DEFAULT,
    ByMode,
    Layer,
    OptionError,
    Resolution,
    SourcedValue,
    convert,
    environment_layers,
    resolve,
)

Changes = dict[str, tuple[OptionValue, OptionValue]]
"""Name → (old, new), secrets masked."""

CODE = "agent's code"
CONFIG = "config file"
FLAG = "flag"
EDITED = "edited"
SWEEP = "sweep"

SECRETS = tuple(option for option in OPTIONS if option.kind.secret)

Edits = Mapping[str, SourcedValue]
"""Edited values by option name, including those that apply only after a restart."""


@dataclass(frozen=True)
class Settings:
    """One immutable set of layers.

    Later layers win: default < environment < agent's code < environment that overrides the code < config file
    < flag < edited < sweep.
    """

    environment: Environment
    flags: Mapping[str, SourcedValue]
    context: DefaultsContext
    manifest: Manifest | None = None
    """What the agent's code sets, once it has loaded."""
    edits: Edits = field(default_factory=dict)
    history: tuple[Edits, ...] = ()
    """The earlier values of `edits`, oldest first. `undone` restores the last one."""
    measuring: Edits = field(default_factory=dict)
    """Values that a sweep sets while it runs."""

    @cached_property
    def resolution(self) -> Resolution:
        """The options in effect. Raises UserError for an invalid value."""
        if self.environment.config_problem:
            raise UserError(self.environment.config_problem)
        ordinary, forced = environment_layers(self.environment.variables)
        layers = (
            ordinary,
            Layer(CODE, _code(self.manifest)),
            forced,
            Layer(CONFIG, self.environment.config),
            Layer(FLAG, self.flags),
            Layer(EDITED, {name: given for name, given in self.edits.items() if not _waits(name)}),
            Layer(SWEEP, self.measuring),
        )
        try:
            return resolve(layers, self.context)
        except OptionError as error:
            raise UserError(str(error)) from None

    @property
    def options(self) -> ServerOptions:
        return self.resolution.options

    @property
    def later(self) -> Edits:
        """Edits that wait for the next start."""
        return {name: given for name, given in self.edits.items() if _waits(name)}

    @property
    def function_names(self) -> tuple[str, ...]:
        """The functions in the agent's file that options may name. Empty until the file has loaded."""
        return self.manifest.function_names if self.manifest else ()

    @property
    def version(self) -> str:
        """The version to register with: that of the agent's SDK, or of agent-tui if there is no SDK."""
        return (self.manifest.sdk_version if self.manifest else None) or agent_tui.__version__

    @cached_property
    def view(self) -> SettingsView:
        """The settings as front ends show them."""
        resolution = self.resolution
        masked = {option.field: resolution.shown(option.name) for option in SECRETS}
        options = replace(resolution.options, **cast("dict[str, Any]", masked))
        return SettingsView(
            replace(resolution, options=options),
            self.context,
            tuple(self.edits),
            {name: MASK if BY_NAME[name].kind.secret else text for name, text in self._pending.items()},
            self.function_names,
            bool(self.history),
        )

    @property
    def secrets(self) -> Secrets:
        """The values that `view` masks."""
        names = [option.name for option in SECRETS]
        values = {name: str(self.resolution.value(BY_NAME[name])) for name in names}
        return Secrets(values | {name: text for name, text in self._pending.items() if name in names})

    @property
    def _pending(self) -> dict[str, str]:
        options = ((BY_NAME[name], given) for name, given in self.later.items())
        return {option.name: option.kind.write(convert(option, given)) for option, given in options}

    def edited(self, values: Mapping[str, str | None]) -> "Settings":
        """Return the settings with these edits; None removes an option's edit.

        Raise UserError for an unknown option or an invalid value.
        """
        edits = _changed(self.edits, values, EDITED)
        return replace(self, edits=edits, history=(*self.history, self.edits))

    def measured_with(self, values: Mapping[str, str | None]) -> "Settings":
        """Return the settings with these values of a sweep; None removes one. Raise UserError as `edited`
        does.
        """
        return replace(self, measuring=_changed(self.measuring, values, SWEEP))

    def undone(self) -> "Settings":
        """Return the settings without the last edits. Raise UserError if there are none."""
        if not self.history:
            raise UserError("there is no edit to undo")
        return replace(self, edits=self.history[-1], history=self.history[:-1])

    def saved(self, environment: Environment, unsaved: Collection[str]) -> "Settings":
        """Return the settings after a save, without the edits that were saved.

        `environment` has read the saved file. The edits named in `unsaved` stay.
        """
        edits = {name: given for name, given in self.edits.items() if name in unsaved}
        return replace(self, environment=environment, edits=edits, history=())


def changes(before: Settings, after: Settings) -> Changes:
    """Return the options whose effective values differ."""
    old, new = before.resolution, after.resolution
    return {
        name: (old.shown(name), new.shown(name))
        for name, option in BY_NAME.items()
        if old.value(option) != new.value(option)
    }


def ignored(before: Settings, after: Settings) -> list[str]:
    """Return a message for each value that has had no effect since the change."""
    return [
        f"{name} ({given.where}) has no effect, because workerToken is set"
        for name, given in after.resolution.ignored.items()
        if before.resolution.ignored.get(name) != given
    ]


def named_functions(resolution: Resolution) -> dict[str, str]:
    """Return the functions that options set in place of those in the agent's code: option → function."""
    return {
        name: str(resolution.value(BY_NAME[name]))
        for name in ("requestFunc", "loadFunc")
        if resolution.sources[name][0] not in (DEFAULT, CODE) and resolution.value(BY_NAME[name])
    }


def check_functions(resolution: Resolution, manifest: Manifest) -> None:
    """Raise UserError if an option names a function that the agent's file does not have."""
    for option, name in named_functions(resolution).items():
        if name not in manifest.function_names:
            there = ", ".join(manifest.function_names) or "none"
            raise UserError(
                f"{option}: {name!r} ({resolution.sources[option][1]}) is not a function of the "
                f"agent's file, which has: {there}"
            )


def _changed(edits: Edits, values: Mapping[str, str | None], where: str) -> Edits:
    changed = dict(edits)
    for name, value in values.items():
        if name not in BY_NAME:
            raise UserError(f"there is no option {name}")
        if value is None:
            changed.pop(name, None)
            continue
        changed[name] = SourcedValue(value, where)
        try:
            convert(BY_NAME[name], changed[name])
        except OptionError as error:
            raise UserError(str(error)) from None
    return changed


def _waits(name: str) -> bool:
    return BY_NAME[name].effect is Effect.RESTART


def _code(manifest: Manifest | None) -> dict[str, SourcedValue]:
    return {
        name: SourcedValue(_raw(given.value), given.where or "the agent's code")
        for name, given in (manifest.options if manifest else {}).items()
        if name in BY_NAME
    }


def _raw(value: object) -> object:
    """Return `{"$modes": [development, production]}` as a `ByMode`, and any other value unchanged."""
    if isinstance(value, dict) and value.keys() == {"$modes"}:
        return ByMode(*value["$modes"])
    return value


def defaults_context(runtime: str, *, local: bool) -> DefaultsContext:
    """Return what the defaults of this run depend on.

    With `local`, the run uses the embedded server, even if `wsURL` names another one.
    """
    own = "" if local else personal_deployment(_user(), socket.gethostname())
    return DefaultsContext(runtime, cores=available_cores(), personal_deployment=own)


def personal_deployment(user: str, host: str) -> str:
    """Return the deployment of a developer on this machine: at most 64 ASCII letters, digits, and `-`."""
    return re.sub("[^A-Za-z0-9-]", "-", f"{user}-{host}")[:MAX_DEPLOYMENT_BYTES]


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a user without an entry, as in containers
        return str(os.getuid())


def available_cores() -> int:
    """Return how many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def starting_at_once() -> int:
    """Return how many job processes the pool starts at the same time."""
    return max(available_cores(), 2)
