"""What models cost: the list, the config file, and the arithmetic."""

from pathlib import Path

import pytest

from agent_tui.options.configfile import read_environment_and_config
from agent_tui.options.prices import Price, Prices, cost_of, list_prices, price_of

USED = {"input_tokens": 1000.0, "input_cached_tokens": 400.0, "output_tokens": 100.0}
MINI = Price(input=0.4, cached_input=0.1, output=1.6)


def test_the_list_has_a_date_and_a_price_for_input_and_output_of_each_model() -> None:
    prices, as_of = list_prices()
    assert as_of == "2026-08-21"
    assert len(prices) > 40
    assert all(each.input is not None and each.output is not None for each in prices.values())


def test_cached_tokens_have_their_own_price() -> None:
    assert cost_of("gpt-4.1-mini", USED, {}) == pytest.approx((600 * 0.4 + 400 * 0.1 + 100 * 1.6) / 1e6)
    assert cost_of("m", USED, {"m": Price(input=1.0, output=2.0)}) == pytest.approx(0.0012)


def test_a_version_and_a_gateway_have_the_price_of_the_model() -> None:
    assert price_of("gpt-4.1-mini-2025-04-14", {}) == price_of("openai/gpt-4.1-mini", {}) == MINI
    assert price_of("claude-haiku-4-5-20251001", {}) == price_of("claude-haiku-4-5", {}) is not None


@pytest.mark.parametrize("model", ["", "gpt-4.1-mini-audio", "my-gpt-4.1", "gpt", "openai/"])
def test_the_cost_of_an_unknown_model_is_not_guessed(model: str) -> None:
    assert cost_of(model, USED, {}) is None


def test_usage_without_a_price_makes_the_cost_unknown() -> None:
    assert cost_of("gpt-4.1-mini", USED | {"output_audio_tokens": 5.0}, {}) is None
    realtime = cost_of("gpt-realtime", {"input_tokens": 10.0, "input_audio_tokens": 10.0}, {})
    assert realtime == pytest.approx(10 * 32 / 1e6)


def test_characters_and_minutes_are_billed_if_they_have_a_price() -> None:
    assert cost_of("tts", {"characters_count": 2e6}, {"tts": Price(characters=15.0)}) == 30.0
    assert cost_of("stt", {"audio_duration": 90.0}, {"stt": Price(minute=0.006)}) == pytest.approx(0.009)


def read(tmp_path: Path, config: str) -> tuple[Prices, str]:
    (tmp_path / "agent-tui.toml").write_text(config)
    environment = read_environment_and_config(tmp_path / "agent.py", tmp_path, {})
    return environment.prices, environment.config_problem


def test_the_config_file_overrides_and_adds_prices(tmp_path: Path) -> None:
    config = '[prices]\n"gpt-4o" = { input = 1, output = 2 }\n[prices.mine]\nminute = 0.5\n'
    prices, problem = read(tmp_path, config)
    assert problem == ""
    assert prices == {"gpt-4o": Price(input=1, output=2), "mine": Price(minute=0.5)}
    assert cost_of("gpt-4o", {"input_tokens": 1e6}, prices) == 1.0


@pytest.mark.parametrize(
    ("config", "problem"),
    [
        ("prices = 1", "prices = 1 (agent-tui.toml:1) is not a table; write [prices."),
        ("[prices]\nm = 1", "prices.m = 1 (agent-tui.toml:1) is not a table"),
        ("[prices.m]\ninptu = 1", "prices.m.inptu (agent-tui.toml:1) is unknown; use input, cached_input"),
        ("[prices.m]\ninput = -1", "prices.m.input = -1 (agent-tui.toml:1) is not a price in US dollars"),
        ("[prices.m]\ninput = nan", "prices.m.input = nan"),
        ("[prices.m]\ninput = true", "prices.m.input = True"),
    ],
)
def test_a_bad_price_is_one_clear_line(config: str, problem: str, tmp_path: Path) -> None:
    assert read(tmp_path, config)[1].startswith(problem)
