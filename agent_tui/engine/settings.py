"""The effective options of a run: layers, what the agent's code adds to them, and edits while running."""

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


class Settings:
    """Resolves again whenever a layer changes; a layer that does not resolve is not taken."""

    def __init__(self, environment: Mapping[str, Given], flags: Mapping[str, Given], runtime: str) -> None:
        self._environment, self._forced = environment_layers(environment)
        self._flags = Layer("flag", flags)
        self._code = Layer("agent's code")
        self._edits = Layer("edited")
        self._runtime = runtime
        self.resolution = self._resolve(self._code, self._edits)

    @property
    def options(self) -> ServerOptions:
        return self.resolution.options

    def take_environment(self, environment: Mapping[str, Given]) -> None:
        """Takes what the environment and its files set now. Raises UserError as `take_manifest`."""
        before = self._environment, self._forced
        self._environment, self._forced = environment_layers(environment)
        try:
            self.resolution = self._resolve(self._code, self._edits)
        except UserError:
            self._environment, self._forced = before
            raise

    def take_manifest(self, manifest: Manifest) -> None:
        """Takes what the agent's code set. Raises UserError for a value that its option does not take."""
        values = {
            name: Given(given.value, given.where or "the agent's code")
            for name, given in manifest.options.items()
            if name in BY_NAME
        }
        code = Layer("agent's code", values)
        self.resolution = self._resolve(code, self._edits)
        self._code = code

    def unknown(self, manifest: Manifest) -> set[str]:
        """Options that the agent's code sets and that are not there yet."""
        return set(manifest.options) - set(BY_NAME)

    def edit(self, values: Mapping[str, str]) -> dict[str, tuple[object, object]]:
        """Takes edits, all or none: name → (old, new) of those that changed, secrets masked.

        Raises UserError for an unknown option, one that cannot be changed while running, or a bad value.
        """
        for name in values:
            option = BY_NAME.get(name)
            if option is None or not option.live:
                why = "there is no such option" if option is None else "it takes effect at the next start"
                raise UserError(f"{name} cannot be changed while running: {why}")
        edited = {name: Given(value, "edited") for name, value in values.items()}
        edits = Layer("edited", {**self._edits.values, **edited})
        before, after = self.resolution, self._resolve(self._code, edits)
        self.resolution, self._edits = after, edits
        return {
            name: (before.shown(name), after.shown(name))
            for name in BY_NAME
            if getattr(before.options, BY_NAME[name].field) != getattr(after.options, BY_NAME[name].field)
        }

    def _resolve(self, code: Layer, edits: Layer) -> Resolution:
        layers = (self._environment, code, self._forced, self._flags, edits)
        try:
            return resolve(layers, self._runtime)
        except OptionError as error:
            raise UserError(str(error)) from None
