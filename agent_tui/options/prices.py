"""What the models of a conversation cost: list prices (prices.toml), and those of the config file."""

import dataclasses
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from agent_tui.options.resolve import OptionError

_LIST = Path(__file__).with_name("prices.toml")
_DATED = re.compile(r"-(\d{8}|\d{4}-\d{2}-\d{2})$")
"""The date of a model's version, as in `gpt-4o-2024-08-06`."""


@dataclass(frozen=True, slots=True)
class Price:
    """Prices of a model in US dollars: per million tokens, per million characters, per minute of audio."""

    input: float | None = None
    cached_input: float | None = None
    """Of input tokens that the provider had cached; like `input` if it is None."""
    cache_write: float | None = None
    """Of input tokens that the provider cached; like `input` if it is None."""
    output: float | None = None
    input_audio: float | None = None
    cached_input_audio: float | None = None
    output_audio: float | None = None
    characters: float | None = None
    minute: float | None = None


FIELDS = tuple(each.name for each in dataclasses.fields(Price))

Prices = Mapping[str, Price]
"""Prices by the name of the model."""


@cache
def list_prices() -> tuple[Prices, str]:
    """Return the prices that agent-tui comes with, and their date."""
    table = tomllib.loads(_LIST.read_text(encoding="utf-8"))
    return {name: Price(**fields) for name, fields in table["prices"].items()}, table["as_of"]


def read_prices(table: object, where: str) -> Prices:
    """Read the table `[prices]` at `where`. Raise OptionError for unknown names and values."""
    example = '[prices."my-model"], then input = 0.4 and output = 1.6 below it'
    if not isinstance(table, Mapping):
        raise OptionError(f"prices = {table!r} ({where}) is not a table; write {example}")
    prices = {}
    for name, fields in table.items():
        if not isinstance(fields, Mapping):
            raise OptionError(f"prices.{name} = {fields!r} ({where}) is not a table; write {example}")
        for field, value in fields.items():
            if field not in FIELDS:
                raise OptionError(f"prices.{name}.{field} ({where}) is unknown; use {', '.join(FIELDS)}")
            if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value < 1e9:
                given = f"prices.{name}.{field} = {value!r} ({where})"
                raise OptionError(f"{given} is not a price in US dollars; write {example}")
        prices[name] = Price(**fields)
    return prices


def price_of(model: str, own: Prices) -> Price | None:
    """Return the price of a model, or of the model whose dated version it is. None if it is not known.

    The prefix of a gateway, as in `openai/gpt-4.1-mini`, does not count, unless a price has it.
    """
    for prices in (own, list_prices()[0]):
        for name in (model, model.rpartition("/")[2]):
            for each in (name, _DATED.sub("", name)):
                if each in prices:
                    return prices[each]
    return None


def cost_of(model: str, units: Mapping[str, float], own: Prices) -> float | None:
    """Return what a model's usage costs, in US dollars; None if the price of a part of it is not known.

    `units` are counts by the SDK's names. Audio tokens and cached tokens are contained in the tokens.
    """
    price = price_of(model, own)
    if price is None:
        return None
    used = units.get
    audio_in, audio_out = used("input_audio_tokens", 0.0), used("output_audio_tokens", 0.0)
    cached_audio = used("input_cached_audio_tokens", 0.0)
    cached = max(used("input_cached_tokens", 0.0) - cached_audio, 0.0)
    written = used("input_cache_creation_tokens", 0.0)
    plain = max(used("input_tokens", 0.0) - audio_in - cached - written, 0.0)
    bill = [
        (plain, price.input, 1e6),
        (cached, price.input if price.cached_input is None else price.cached_input, 1e6),
        (written, price.input if price.cache_write is None else price.cache_write, 1e6),
        (max(used("output_tokens", 0.0) - audio_out, 0.0), price.output, 1e6),
        (max(audio_in - cached_audio, 0.0), price.input_audio, 1e6),
        (cached_audio, price.cached_input_audio, 1e6),
        (audio_out, price.output_audio, 1e6),
    ]
    if price.characters is not None:
        bill.append((used("characters_count", 0.0), price.characters, 1e6))
    if price.minute is not None:
        bill.append((used("audio_duration", 0.0), price.minute, 60.0))
    if any(count and each is None for count, each, _ in bill):
        return None
    return sum(count * (each or 0.0) / per for count, each, per in bill)
