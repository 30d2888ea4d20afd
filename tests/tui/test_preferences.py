"""The table `[screen]` of the config file, and screenshots with secrets masked."""

from pathlib import Path

import pytest
from textual.widgets import Input

from agent_tui.model import commands as cmd
from agent_tui.model.errors import UserError
from agent_tui.options.configfile import ConfigFile, read_environment_and_config
from agent_tui.tui import screenshot
from agent_tui.tui.action_handlers import ActionHandlers
from agent_tui.tui.actions import ACTIONS
from agent_tui.tui.app import AgentTuiApp
from agent_tui.tui.preferences import THEMES, Preferences, read_preferences, remapped
from agent_tui.tui.screens.log_pages import LogExport
from agent_tui.tui.widgets.talk_steps import DEFAULT_LIMITS, Limits
from tests.fakes.engine import FakeEngine
from tests.fakes.scripted_child import until
from tests.tui import histories
from tests.tui.page_host import app_over, page_host, painted


def read(**table: object) -> Preferences:
    return read_preferences(table, "agent-tui.toml", ACTIONS)


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({"thema": "x"}, "screen.thema (agent-tui.toml) is unknown"),
        ({"theme": "pink"}, "is not a theme: use one of"),
        ({"theme": 3}, "is not a theme"),
        ({"keymap": "emacs"}, "screen.keymap = 'emacs' (agent-tui.toml) is not a keymap: use \"vim\""),
        ({"keymap": ["vim"]}, "is not a keymap"),
        (
            {"keymap": "vim", "keys": {"reload": "g"}},
            "'g' is bound to screen.keymap (as Home) and reload; choose another key",
        ),
        ({"keymap": "vim", "keys": {"job": "j"}}, "'j' is bound to screen.keymap (as ↓) and job"),
        ({"keymap": "vim", "keys": {"reload": "J"}}, "'J' is bound to job and reload"),
        ({"exports": 3}, "screen.exports = 3 (agent-tui.toml) is not a folder"),
        ({"exports": "~nobody-here/x"}, "is not a folder"),
        ({"exports": "a\0b"}, "is not a folder"),
        (
            {"slow_turn_ms": "1s"},
            "screen.slow_turn_ms = '1s' (agent-tui.toml) is not a number of milliseconds",
        ),
        ({"slow_part_ms": -1}, "is not a number of milliseconds"),
        ({"slow_part_ms": True}, "is not a number of milliseconds"),
        ({"keys": "w"}, "is not a table"),
        ({"keys": {"fly": "w"}}, "screen.keys.fly (agent-tui.toml) is not an action"),
        ({"keys": {"reload": ""}}, "is not a key"),
        ({"keys": {"reload": [1]}}, "is not a key"),
        ({"keys": {"reload": "d"}}, "'d' is bound to dispatch and reload"),
    ],
)
def test_invalid_preferences_are_one_line_errors(table: dict[str, object], said: str) -> None:
    with pytest.raises(UserError) as error:
        read(**table)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_the_limits_of_slow_turns() -> None:
    assert read().limits == DEFAULT_LIMITS
    assert read(slow_turn_ms=900, slow_part_ms=0).limits == Limits(turn_ms=900.0, part_ms=0.0)


def test_keys_may_be_swapped_and_several() -> None:
    chosen = read(keys={"reload": ["d", "f5"], "dispatch": "r", "more_idle": "*"}).keys
    by_name = {action.name: action.keys for action in remapped(ACTIONS, chosen)}
    assert (by_name["reload"], by_name["dispatch"]) == (("d", "f5"), ("r",))
    assert by_name["more_idle"] == ("asterisk",)


async def test_a_custom_key_replaces_the_default_key() -> None:
    engine = FakeEngine()
    histories.idle(engine)
    preferences = read(keys={"reload": "f5"}, theme="high-contrast")
    async with page_host(engine, preferences=preferences) as (app, pilot):
        await pilot.press("r")
        await pilot.press("f5")
        await pilot.pause()
        assert engine.commands == [cmd.Reload()]
        assert app.theme == "high-contrast"
        await pilot.press("question_mark")
        await pilot.pause()
        assert "F5" in str(app.screen.query_one("#help-keys").render())


async def test_every_theme_shows_the_dashboard() -> None:
    engine = FakeEngine()
    histories.busy(engine)
    first, *others = THEMES
    app = app_over(engine, AgentTuiApp, preferences=Preferences(first))
    async with app.run_test(size=(80, 24)) as pilot:
        await painted(app, engine, pilot)
        seen = {app.theme: app.export_screenshot()}
        for theme in others:
            app.theme = theme
            await pilot.pause()
            seen[theme] = app.export_screenshot()
        for theme, picture in seen.items():
            assert "registered" in picture, theme
        assert len(set(seen.values())) == len(THEMES), "each has its own colors"


def test_the_screen_table_is_not_an_option_and_reaches_the_screen(tmp_path: Path) -> None:
    agent = tmp_path / "agent.py"
    (tmp_path / "agent-tui.toml").write_text(
        'agentName = "bob"\n[screen]\ntheme = "nord"\n[screen.keys]\nreload = "f5"\n'
    )
    found = read_environment_and_config(agent, tmp_path, {})
    assert found.config_problem == ""
    assert list(found.config) == ["agentName"]
    assert found.screen == {"theme": "nord", "keys": {"reload": "f5"}}
    (tmp_path / "agent-tui.toml").write_text("screen = 3\n")
    assert (
        "agent-tui.toml:1) is not a table" in read_environment_and_config(agent, tmp_path, {}).config_problem
    )
    assert ConfigFile(tmp_path / "agent-tui.toml").table == ()


def test_a_screenshot_contains_no_secret_however_it_is_escaped() -> None:
    svg = "<text>s3cr&amp;t&#160;word and again s3cr&amp;t word</text>"
    assert screenshot.masked(svg, ["s3cr&t word"]) == "<text>••• and again •••</text>"


@pytest.mark.parametrize(
    ("given", "folder"),
    [
        ("pictures", "/project/pictures"),
        ("../pictures", "/project/../pictures"),
        ("/pictures", "/pictures"),
        ("~/pictures", "/home/ann/pictures"),
    ],
)
def test_relative_exports_start_at_the_config_file(
    given: str, folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "/home/ann")
    preferences = read_preferences({"exports": given}, "/project/agent-tui.toml", ACTIONS)
    assert preferences.exports == Path(folder)
    assert read().exports is None


async def test_exports_go_to_the_chosen_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project, exports = tmp_path / "project", tmp_path / "new" / "exports"
    project.mkdir()
    monkeypatch.chdir(project)
    monkeypatch.setenv("HOME", str(tmp_path))
    engine = FakeEngine()
    histories.busy(engine)
    async with page_host(engine, preferences=read(exports=str(exports))) as (app, pilot):
        await pilot.press("f12")
        await until(lambda: app.notices)
        (picture,) = exports.iterdir()
        assert app.notices[-1].text == f"saved ~/new/exports/{picture.name}, secrets masked"
        await pilot.press("X")
        await until(lambda: isinstance(app.screen, LogExport))
        await pilot.pause()
        assert app.screen.query_one(Input).value.startswith("~/new/exports/agent-tui-")
        await pilot.press("enter")
        await until(lambda: len(app.notices) == 2)
        assert app.notices[-1].text.startswith("saved 0 lines to ~/new/exports/agent-tui-")
        assert len(list(exports.iterdir())) == 2
        picture.unlink()
        for file in exports.iterdir():
            file.unlink()
        exports.rmdir()
        exports.touch()
        await pilot.press("f12")
        await until(lambda: len(app.notices) == 3)
        assert app.notices[-1].text == "screenshot not saved: File exists · ~/new/exports"
    assert not list(project.iterdir())


async def test_f12_works_on_pages_too(tmp_path: Path) -> None:
    exports = tmp_path / "state/agent-tui/exports"
    engine = FakeEngine()
    histories.busy(engine)
    app = app_over(engine, AgentTuiApp)
    async with app.run_test(size=(120, 40)) as pilot:
        await painted(app, engine, pilot)
        await pilot.press("f12")
        await pilot.press("question_mark")
        await pilot.pause()
        await pilot.press("f12")
        await until(lambda: len(list(exports.glob("agent-tui-*.svg"))) == 2)
        dashboard, help = sorted(exports.iterdir(), key=lambda path: path.stat().st_mtime_ns)
        assert "registered" in dashboard.read_text()
        assert "Keys" in help.read_text()


def test_an_unwritable_folder_raises_oserror(tmp_path: Path) -> None:
    (file := tmp_path / "file").touch()
    with pytest.raises(OSError):
        screenshot.save("<svg/>", file / "below")


def test_every_action_has_one_handler() -> None:
    doing = ActionHandlers(AgentTuiApp(FakeEngine))  # type: ignore[arg-type]
    both = {
        each.name
        for each in ACTIONS
        if hasattr(ActionHandlers, each.name) and hasattr(doing.tuning, each.name)
    }
    assert not both
    for action in ACTIONS:
        name = f"action_{action.name}"
        acts = doing.of(action.name) if action.target is None else getattr(action.target, name)
        assert callable(acts)
