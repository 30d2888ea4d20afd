"""From layers of raw values to the effective options, each knowing where it came from. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

from agent_tui.options.declare import BY_NAME, OPTIONS, Option, ServerOptions

MASK = "•••"


class OptionError(ValueError):
    """A value that cannot be used: one line with the option, the value, its source and what to give."""


@dataclass(frozen=True, slots=True)
class Given:
    """A raw value and where it was written: `--port`, `LIVEKIT_URL in .env:3`, `agent.py:12`."""

    raw: object
    where: str


@dataclass(frozen=True, slots=True)
class Layer:
    """Values of one kind of source, by option name. Later layers beat earlier ones."""

    name: str
    values: Mapping[str, Given] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Resolution:
    """The effective options and, by option name, the layer and place that each came from."""

    options: ServerOptions
    sources: Mapping[str, tuple[str, str]]

    def shown(self, name: str) -> object:
        """The value for people: secrets masked."""
        option = BY_NAME[name]
        value = getattr(self.options, option.field)
        return MASK if option.kind.secret and value else value


def resolve(layers: Sequence[Layer], runtime: str) -> Resolution:
    """Converts and stacks the layers over the defaults of that runtime.

    Raises OptionError for the first value that its option does not take.
    """
    values: dict[str, object] = {}
    sources: dict[str, tuple[str, str]] = {}
    for option in OPTIONS:
        values[option.field] = option.default_for(runtime)
        sources[option.name] = ("default", "")
        for layer in layers:
            given = layer.values.get(option.name)
            if given is not None:
                values[option.field] = convert(option, given)
                sources[option.name] = (layer.name, given.where)
    return Resolution(ServerOptions(**cast("dict[str, Any]", values)), sources)


def convert(option: Option, given: Given) -> object:
    """One value of one option, or OptionError."""
    try:
        return option.kind.convert(given.raw)
    except ValueError as error:
        value = MASK if option.kind.secret else repr(given.raw)
        raise OptionError(
            f"{option.name}: {value} ({given.where}) {error}; give {option.kind.expects}"
        ) from None


def environment_layers(environ: Mapping[str, Given]) -> tuple[Layer, Layer]:
    """What the environment sets: the ordinary layer, and the one that beats the agent's own code."""
    plain: dict[str, Given] = {}
    forced: dict[str, Given] = {}
    for option in OPTIONS:
        for name in option.environment:
            given = environ.get(name)
            if given is not None and given.raw != "":
                plain[option.name] = given
                break
        override = environ.get(option.forced_by) if option.forced_by else None
        if override is not None and override.raw != "":
            forced[option.name] = override
    return Layer("environment", plain), Layer("environment override", forced)
