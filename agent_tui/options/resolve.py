"""From layers of raw values to the effective options, each knowing where it came from. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast

from agent_tui.options.declare import BY_NAME, OPTIONS, DefaultsContext, Option, OptionValue, ServerOptions
from agent_tui.options.kinds import MASK

DEFAULT = "default"

LOAD_SETTINGS = ("loadFunc", "loadThreshold")
"""What a worker token leaves no choice of (agents-js.md §2, workerToken)."""


class OptionError(ValueError):
    """A value that cannot be used: one line with the option, the value, its source and what to give."""


@dataclass(frozen=True, slots=True)
class SourcedValue:
    """A raw value and where it was written: `--port`, `LIVEKIT_URL in .env:3`, `agent.py:12`."""

    raw: object
    where: str


@dataclass(frozen=True, slots=True)
class ByMode:
    """A raw value that the agent's code passed for development and another for production."""

    development: object
    production: object


@dataclass(frozen=True, slots=True)
class Layer:
    """Values of one kind of source, by option name. Later layers beat earlier ones."""

    name: str
    values: Mapping[str, SourcedValue] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Resolution:
    """The effective options and, by option name, the layer and place that each came from."""

    options: ServerOptions
    sources: Mapping[str, tuple[str, str]]
    ignored: Mapping[str, SourcedValue] = field(default_factory=dict)
    """Load settings that have no effect because of the worker token."""

    @property
    def agent_name_is_env(self) -> bool:
        """The seed's `agentNameIsEnv`: whether the name in force came from the environment."""
        return self.sources["agentName"][0].startswith("environment")

    def value(self, option: Option) -> OptionValue:
        """The value in force."""
        value: OptionValue = getattr(self.options, option.field)
        return value

    def shown(self, name: str) -> OptionValue:
        """The value for people: secrets masked."""
        option = BY_NAME[name]
        value = self.value(option)
        return MASK if option.kind.secret and value else value

    def written(self, name: str) -> str:
        """The value as one would type it; secrets masked."""
        option = BY_NAME[name]
        return str(self.shown(name)) if option.kind.secret else option.kind.write(self.value(option))


def resolve(layers: Sequence[Layer], context: DefaultsContext) -> Resolution:
    """Converts and stacks the layers over the defaults; whether it is production they say themselves.

    Raises OptionError for the first value that its option does not take.
    """
    production, source = _effective(BY_NAME["production"], layers, context)
    context = replace(context, production=bool(production))
    values: dict[str, object] = {"production": production}
    sources: dict[str, tuple[str, str]] = {"production": source}
    for option in OPTIONS:
        values[option.field], sources[option.name] = _effective(option, layers, context)
    ignored: dict[str, SourcedValue] = {}
    if values["worker_token"]:
        for name in LOAD_SETTINGS:
            if sources[name][0] != DEFAULT:
                ignored[name] = SourcedValue(values[BY_NAME[name].field], sources[name][1])
                values[BY_NAME[name].field] = BY_NAME[name].default_for(context)
                sources[name] = (DEFAULT, "default with workerToken")
    return Resolution(ServerOptions(**cast("dict[str, Any]", values)), sources, ignored)


def convert(option: Option, given: SourcedValue) -> object:
    """One value of one option, or OptionError."""
    try:
        return option.kind.convert(given.raw)
    except ValueError as error:
        value = option.kind.show(given.raw)
        raise OptionError(
            f"{option.name}: {value} ({given.where}) {error}; give {option.kind.expects}"
        ) from None


def environment_layers(environ: Mapping[str, SourcedValue]) -> tuple[Layer, Layer]:
    """What the environment sets: the ordinary layer, and the one that beats the agent's own code."""
    plain: dict[str, SourcedValue] = {}
    forced: dict[str, SourcedValue] = {}
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


def _effective(
    option: Option, layers: Sequence[Layer], context: DefaultsContext
) -> tuple[object, tuple[str, str]]:
    value = option.default_for(context)
    usual = option.default_for(replace(context, production=False))
    source = (DEFAULT, "default in production" if value != usual else "")
    for layer in layers:
        given = layer.values.get(option.name)
        if given is None:
            continue
        if isinstance(given.raw, ByMode):
            raw = given.raw.production if context.production else given.raw.development
            given = SourcedValue(raw, given.where)
        value, source = convert(option, given), (layer.name, given.where)
    return value, source
