"""Resolves layers of raw values to the effective options, each with its source. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast

from agent_tui.options.declare import BY_NAME, OPTIONS, DefaultsContext, Option, OptionValue, ServerOptions
from agent_tui.options.kinds import MASK
from agent_tui.options.urls import is_loopback

DEFAULT = "default"

LOAD_SETTINGS = ("loadFunc", "loadThreshold")
"""Options that have no effect with a worker token (agents-js.md §2, workerToken)."""


class OptionError(ValueError):
    """A value cannot be used. The text is one line: the option, the value, its source, and what to give."""


@dataclass(frozen=True, slots=True)
class SourcedValue:
    """A raw value and where it was written: `--port`, `LIVEKIT_URL in .env:3`, `agent.py:12`."""

    raw: object
    where: str


@dataclass(frozen=True, slots=True)
class ByMode:
    """The raw values that the agent's code passed for development and for production."""

    development: object
    production: object


@dataclass(frozen=True, slots=True)
class Layer:
    """The values from one kind of source, by option name. Later layers override earlier ones."""

    name: str
    values: Mapping[str, SourcedValue] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Resolution:
    """The effective options; `sources` has the layer and the place of each one, by option name."""

    options: ServerOptions
    sources: Mapping[str, tuple[str, str]]
    ignored: Mapping[str, SourcedValue] = field(default_factory=dict)
    """Load settings that have no effect because of the worker token."""

    @property
    def agent_name_is_env(self) -> bool:
        """Whether the effective agent name came from the environment (`agentNameIsEnv` of `/worker`)."""
        return self.sources["agentName"][0].startswith("environment")

    def value(self, option: Option) -> OptionValue:
        """Return the effective value."""
        value: OptionValue = getattr(self.options, option.field)
        return value

    def shown(self, name: str) -> OptionValue:
        """Return the effective value, masked if it is secret."""
        option = BY_NAME[name]
        value = self.value(option)
        return MASK if option.kind.secret and value else value

    def written(self, name: str) -> str:
        """Return the effective value as it would be typed, masked if it is secret."""
        option = BY_NAME[name]
        return str(self.shown(name)) if option.kind.secret else option.kind.write(self.value(option))


def defaults_of(options: ServerOptions, context: DefaultsContext) -> DefaultsContext:
    """Return `context` with `production` and `remote` as they follow from these options."""
    return replace(context, production=options.production, remote=_is_remote(options.ws_url))


def _is_remote(url: str) -> bool:
    return bool(url) and not is_loopback(url)


def resolve(layers: Sequence[Layer], context: DefaultsContext) -> Resolution:
    """Return the effective options: the converted values of the layers, and defaults for the other options.

    `production` and `wsURL` decide which defaults apply, so they are resolved first. Raise OptionError for
    the first value that its option does not accept.
    """
    production, source = _effective(BY_NAME["production"], layers, context)
    url, _ = _effective(BY_NAME["wsURL"], layers, context)
    context = replace(context, production=bool(production), remote=_is_remote(str(url)))
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
    """Return one option's converted value. Raises OptionError if it cannot be used."""
    try:
        return option.kind.convert(given.raw)
    except ValueError as error:
        value = option.kind.show(given.raw)
        raise OptionError(
            f"{option.name}: {value} ({given.where}) {error}; give {option.kind.expects}"
        ) from None


def environment_layers(environ: Mapping[str, SourcedValue]) -> tuple[Layer, Layer]:
    """Return the two layers of the environment: the ordinary one, and one that overrides the agent's code."""
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
    usual = option.default_for(replace(context, production=False, remote=False))
    source = (DEFAULT, option.derived if value != usual else "")
    for layer in layers:
        given = layer.values.get(option.name)
        if given is None:
            continue
        if isinstance(given.raw, ByMode):
            raw = given.raw.production if context.production else given.raw.development
            given = SourcedValue(raw, given.where)
        value, source = convert(option, given), (layer.name, given.where)
    return value, source
