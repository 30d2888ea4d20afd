"""The options panel: all options are shown; edits are requested once and never overwritten."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from msgspec.structs import replace
from textual.app import App, ComposeResult
from textual.pilot import Pilot
from textual.widgets import Static

from agent_tui.model.settings import DEFAULTS
from agent_tui.model.state import AppState
from agent_tui.options.declare import BY_NAME, OPTIONS, DefaultsContext
from agent_tui.options.resolve import Layer, Resolution, SourcedValue, resolve
from agent_tui.tui.widgets.controls import Choice, TextField
from agent_tui.tui.widgets.option_text import LIVE, NOT_LIVE, Edit, check, edited, not_live, written
from agent_tui.tui.widgets.options_panel import OptionsPanel
from tests.fakes.scripted_child import until


def resolution(layer: str = "flag", **values: str) -> Resolution:
    given = {name: SourcedValue(value, f"--{name}") for name, value in values.items()}
    return resolve((Layer(layer, given),), DefaultsContext("livekit-agents"))


# -- text ----------------------------------------------------------------------------------------------


def test_every_option_is_editable_or_shown() -> None:
    assert sorted(o.name for o in (*LIVE, *NOT_LIVE)) == sorted(o.name for o in OPTIONS)
    assert {o.name for o in LIVE} == {o.name for o in OPTIONS if o.effect.is_live}
    text = not_live(resolution()).plain
    for option in NOT_LIVE:
        assert option.name in text
        assert option.help in text


def test_secrets_are_masked_and_sources_shown() -> None:
    text = not_live(resolution(apiSecret="s3cr3t-value", deployment="blue")).plain
    assert "s3cr3t-value" not in text
    assert "•••" in text
    assert "--deployment" in text


def test_outside_values_stay_text() -> None:
    content = not_live(resolution(deployment="[/x][bold]漢", agentName="[red]a[/]"))
    assert "[/x][bold]漢" in content.plain
    assert "[red]a[/]" in content.plain


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("shutdownProcessTimeout", 10_000, "10s"),
        ("shutdownProcessTimeout", 300_000, "5m"),
        ("shutdownProcessTimeout", 1_500, "1500ms"),
        ("sessionEndTimeout", 0, "0ms"),
        ("jobMemoryWarnMB", 1_500_000.0, "1500000"),
        ("loadThreshold", float("inf"), "inf"),
        ("loadThreshold", 0.7, "0.7"),
        ("numIdleProcesses", 60_000, "60000"),
        ("logLevel", "info", "info"),
    ],
)
def test_values_are_written_in_the_form_users_type(name: str, value: object, text: str) -> None:
    assert written(BY_NAME[name], value) == text


@pytest.mark.parametrize("option", [option for option in OPTIONS if not option.kind.secret])
def test_written_values_parse_to_the_same_value(option: object) -> None:
    chosen = next(each for each in OPTIONS if each is option)
    default = chosen.default_for(DefaultsContext("livekit-agents"))
    if chosen.name != "permissions":
        assert chosen.kind.convert(written(chosen, default)) == default
    else:
        hidden = chosen.kind.convert("hidden=true,canPublishSources=camera+microphone")
        assert chosen.kind.convert(written(chosen, hidden)) == hidden


def test_a_bad_value_is_reported_with_what_to_enter() -> None:
    assert check(BY_NAME["jobMemoryWarnMB"], "200") == ""
    assert check(BY_NAME["jobMemoryWarnMB"], "-1").endswith(
        "is below 0; give a number of MB, or 0 for no warning"
    )
    assert "\x1b" not in check(BY_NAME["jobMemoryWarnMB"], "\x1b[31m")


def test_edits_are_counted() -> None:
    assert edited(resolution("edited", port="1", logLevel="warn")) == 2
    assert edited(resolution()) == 0


def test_quick_edits_are_answered_one_by_one() -> None:
    edit = Edit(1, [2, 3])
    assert not edit.receive(1)
    assert edit.target == 3
    assert edit.receive(2)
    assert edit.target == 3
    assert edit.receive(3)
    assert edit.asked == []
    edit = Edit(1, [2])
    assert edit.receive(9)
    assert edit.target == 9
    edit = Edit(1, [2])
    edit.fail()
    assert edit.target == 1


# -- panel ---------------------------------------------------------------------------------------------


class Host(App[None]):
    """An app that records the requested values."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[tuple[str, str]] = []

    def compose(self) -> ComposeResult:
        yield OptionsPanel()

    def on_options_panel_edited(self, event: OptionsPanel.Edited) -> None:
        self.asked.append((event.name, event.value))

    @property
    def panel(self) -> OptionsPanel:
        return self.query_one(OptionsPanel)

    def field(self, name: str) -> TextField:
        return self.query_one(f"#option-{name} TextField", TextField)

    def choice(self, name: str) -> Choice:
        return self.query_one(f"#option-{name} Choice", Choice)

    def show(self, resolution: Resolution, **more: str) -> None:
        settings = replace(DEFAULTS, resolution=resolution)
        self.panel.show(replace(AppState(), settings=settings, **more), 0.0)

    def note(self, name: str) -> str:
        return str(self.query_one(f"#option-{name} .option-note", Static).content)

    def idle_count(self) -> str:
        return self.choice("numIdleProcesses").value


@asynccontextmanager
async def panel(size: tuple[int, int] = (80, 40)) -> AsyncIterator[tuple[Host, Pilot[None]]]:
    app = Host()
    async with app.run_test(size=size) as pilot:
        app.show(resolution())
        await pilot.pause()
        yield app, pilot


async def enter(app: Host, pilot: Pilot[None], name: str, text: str, *keys: str) -> None:
    app.field(name).focus()
    await pilot.press(*text, *keys)
    await pilot.pause()


@pytest.mark.parametrize("size", [(46, 20), (80, 24), (120, 40), (200, 60)])
async def test_all_options_are_shown_at_any_size(size: tuple[int, int]) -> None:
    async with panel(size) as (app, _):
        assert app.idle_count() == "1"
        assert app.choice("logLevel").value == "info"
        assert {name: app.field(name).placeholder for name in ("jobMemoryWarnMB", "loadThreshold")} == {
            "jobMemoryWarnMB": "1000",
            "loadThreshold": "inf",
        }
        assert "default · " in app.note("loadThreshold")
        for widget in app.query("TextField, Choice"):
            assert widget.region.right <= size[0] - 2
        assert app.asked == []


async def test_options_are_read_only_before_the_first_state_and_while_stopping() -> None:
    app = Host()
    async with app.run_test() as pilot:
        assert all(row.disabled for row in app.query("OptionRow"))
        app.show(resolution())
        assert not any(row.disabled for row in app.query("OptionRow"))
        app.show(resolution(), stopping="quit")
        await pilot.click(app.choice("numIdleProcesses"), offset=(4, 0))
        assert app.asked == []


async def test_port_zero_shows_the_port_in_use() -> None:
    async with panel() as (app, pilot):
        app.show(resolution(), http_url="http://127.0.0.1:40123")
        await pilot.pause()
        assert "listening on http://127.0.0.1:40123" in app.note("port")


async def test_the_idle_count_changes_by_clicks_and_keys_and_quick_ones_add_up() -> None:
    async with panel() as (app, pilot):
        await pilot.click(app.choice("numIdleProcesses"), offset=(4, 0))
        await pilot.press("right")
        await pilot.click(app.choice("numIdleProcesses"), offset=(1, 0))
        assert app.asked == [("numIdleProcesses", number) for number in ("2", "3", "2")]
        assert app.idle_count() == "2"
        app.show(resolution("edited", numIdleProcesses="2"))
        await pilot.pause()
        assert app.panel.note == "1 edited"


async def test_the_idle_count_stops_at_its_bounds() -> None:
    async with panel() as (app, pilot):
        app.show(resolution(numIdleProcesses="0"))
        await pilot.click(app.choice("numIdleProcesses"), offset=(1, 0))
        assert app.asked == []
        assert app.idle_count() == "0"
        assert "is below 0" in app.note("numIdleProcesses")


async def test_the_level_is_selected_from_a_list() -> None:
    async with panel() as (app, pilot):
        app.choice("logLevel").focus()
        await pilot.press("right")
        await pilot.pause()
        assert app.asked == [("logLevel", "warn")]
        app.panel.failed("logLevel", "the engine said no")
        app.show(resolution())
        await pilot.pause()
        assert app.choice("logLevel").value == "info"
        assert app.note("logLevel") == "✗ the engine said no"
        assert len(app.asked) == 1


async def test_a_level_changed_elsewhere_is_shown_and_not_requested_again() -> None:
    async with panel() as (app, pilot):
        app.show(resolution("edited", logLevel="error"))
        await pilot.pause()
        assert app.choice("logLevel").value == "error"
        assert app.asked == []


async def test_enter_requests_the_typed_value_once() -> None:
    async with panel() as (app, pilot):
        await enter(app, pilot, "shutdownProcessTimeout", "2500ms", "enter", "enter")
        assert app.asked == [("shutdownProcessTimeout", "2500ms")]
        assert app.note("shutdownProcessTimeout") == "applying…"
        app.show(resolution("edited", shutdownProcessTimeout="2500ms"))
        await pilot.pause()
        assert app.field("shutdownProcessTimeout").placeholder == "2500ms"
        assert app.field("shutdownProcessTimeout").value == ""
        assert app.note("shutdownProcessTimeout").startswith("--shutdownProcessTimeout · ")


async def test_the_same_value_in_another_spelling_is_not_requested() -> None:
    async with panel() as (app, pilot):
        await enter(app, pilot, "shutdownProcessTimeout", "10000", "enter")
        assert app.asked == []
        assert app.field("shutdownProcessTimeout").placeholder == "10s"


async def test_an_invalid_value_is_reported_while_typing_and_never_requested() -> None:
    async with panel() as (app, pilot):
        await enter(app, pilot, "loadThreshold", "1x", "enter")
        assert app.note("loadThreshold").startswith("✗ '1x' (typed) is not a number; give ")
        assert app.asked == []
        assert app.field("loadThreshold").value == "1x"
        await pilot.press("backspace")
        await pilot.pause()
        assert app.note("loadThreshold").startswith("not applied")
        await pilot.press("escape")
        await pilot.pause()
        assert (app.field("loadThreshold").value, app.field("loadThreshold").placeholder) == ("", "inf")
        assert app.note("loadThreshold").startswith("default")
        await pilot.press("escape")
        assert app.focused is None


async def test_a_pending_edit_is_never_overwritten() -> None:
    async with panel() as (app, pilot):
        await enter(app, pilot, "jobMemoryWarnMB", "77")
        app.show(resolution("edited", jobMemoryWarnMB="500", loadThreshold="0.5"))
        await pilot.pause()
        assert app.field("jobMemoryWarnMB").value == "77"
        assert app.field("loadThreshold").placeholder == "0.5"
        await pilot.press("escape")
        assert (app.field("jobMemoryWarnMB").value, app.field("jobMemoryWarnMB").placeholder) == ("", "500")


async def test_text_typed_after_enter_survives_the_answer() -> None:
    async with panel() as (app, pilot):
        await enter(app, pilot, "jobMemoryWarnMB", "77", "enter", "8")
        app.show(resolution("edited", jobMemoryWarnMB="77"))
        await pilot.pause()
        assert app.field("jobMemoryWarnMB").value == "8"
        app.panel.failed("jobMemoryWarnMB", "no")
        assert app.field("jobMemoryWarnMB").value == "8"


async def test_a_failed_edit_leaves_the_old_value_with_the_reason() -> None:
    async with panel() as (app, pilot):
        await enter(app, pilot, "jobMemoryWarnMB", "77", "enter")
        app.panel.failed("jobMemoryWarnMB", "[/x] it is \x1b[31mtoo low")
        app.show(resolution())
        await pilot.pause()
        assert app.field("jobMemoryWarnMB").placeholder == "1000"
        assert app.note("jobMemoryWarnMB") == "✗ [/x] it is too low"
        await enter(app, pilot, "jobMemoryWarnMB", "88")
        assert app.note("jobMemoryWarnMB").startswith("not applied")


async def test_the_error_is_in_view_in_a_low_panel() -> None:
    async with panel((80, 9)) as (app, pilot):
        await enter(app, pilot, "loadThreshold", "x")
        note = app.query_one("#option-loadThreshold .option-note")
        assert str(app.note("loadThreshold")).startswith("✗")
        await until(lambda: note.region.bottom <= app.panel.region.bottom)
