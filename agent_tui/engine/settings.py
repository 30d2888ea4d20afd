"""The effective options of a run: layers, what the agent's code adds to them, and edits while running."""

import copy
from collections.abc import Mapping

from agent_tui.model.child import Manifest
from agent_tui.model.errors import UserError
from agent_tui.options.declare import BY_NAME, ServerOptions
from agent_tui.options.resolve import (
    Given,
    Layer,
    OptionError,
    Resolution,
    environment_layers,
    resolve,
)

Changes = dict[str, tuple[object, object]]
"""Name → (old, new)."""


class Settings:
    """Resolves again whenever a layer changes; a layer that does not resolve is not taken."""

    def __init__(self, environment: Mapping[str, Given], flags: Mapping[str, Given], runtime: str) -> None:
        self._environment, self._forced = environment_layers(environment)
        self._flags = Layer("flag", flags)
        self._code = Layer("agent's code")
        self._edits = Layer("edited")
        self._runtime = runtime
        self.resolution = self._resolve()

    @property
    def options(self) -> ServerOptions:
        return self.resolution.options

    def preview(self, environment: Mapping[str, Given], manifest: Manifest | None = None) -> ServerOptions:
        """The options as they would be with this environment and what the agent's code sets.

        Raises UserError for a value that its option does not take.
        """
        return self._loaded(environment, manifest)._resolve().options

    def take(self, environment: Mapping[str, Given], manifest: Manifest) -> Changes:
        """Takes them: what changed, as in `edit`. Raises UserError as `preview`, with nothing changed."""
        loaded = self._loaded(environment, manifest)
        before, self.resolution = self.resolution, loaded._resolve()
        self._environment, self._forced, self._code = loaded._environment, loaded._forced, loaded._code
        return _changes(before, self.resolution)

    def _loaded(self, environment: Mapping[str, Given], manifest: Manifest | None) -> "Settings":
        loaded = copy.copy(self)
        loaded._environment, loaded._forced = environment_layers(environment)
        if manifest is not None:
            values = {
                name: Given(given.value, given.where or "the agent's code")
                for name, given in manifest.options.items()
                if name in BY_NAME
            }
            loaded._code = Layer("agent's code", values)
        return loaded

    def unknown(self, manifest: Manifest) -> set[str]:
        """Options that the agent's code sets and that are not there yet."""
        return set(manifest.options) - set(BY_NAME)

    def edit(self, values: Mapping[str, str]) -> Changes:
        """Takes edits, all or none: name → (old, new) of those that changed, secrets masked.

        Raises UserError for an unknown option, one that cannot be changed while running, or a bad value.
        """
        for name in values:
            option = BY_NAME.get(name)
            if option is None or not option.live:
                why = "there is no such option" if option is None else "it takes effect at the next start"
                raise UserError(f"{name} cannot be changed while running: {why}")
        edited = {name: Given(value, "edited") for name, value in values.items()}
        copied = copy.copy(self)
        copied._edits = Layer("edited", {**self._edits.values, **edited})
        before, self.resolution = self.resolution, copied._resolve()
        self._edits = copied._edits
        return _changes(before, self.resolution)

    def _resolve(self) -> Resolution:
        layers = (self._environment, self._code, self._forced, self._flags, self._edits)
        try:
            return resolve(layers, self._runtime)
        except OptionError as error:
            raise UserError(str(error)) from None


def _changes(before: Resolution, after: Resolution) -> Changes:
    return {
        name: (before.shown(name), after.shown(name))
        for name, option in BY_NAME.items()
        if getattr(before.options, option.field) != getattr(after.options, option.field)
    }
