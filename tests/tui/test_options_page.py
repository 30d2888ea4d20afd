"""The options page: edits are collected, checked, shown, and sent as one command."""

import dataclasses
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from msgspec.structs import replace
from textual import events
from textual.pilot import Pilot
from textual.widgets import Button, Checkbox, Input, Select, Static

from agent_tui.model import commands as cmd
from agent_tui.model import events as ev
from agent_tui.options.declare import OPTIONS, Option
from agent_tui.options.permissions import SOURCES
from agent_tui.tui.screens import options as options_page
from agent_tui.tui.screens.confirm import Confirm
from agent_tui.tui.screens.export import ExportPage
from agent_tui.tui.screens.options import OptionsPage
from agent_tui.tui.widgets.controls import Choice, TextField
from agent_tui.tui.widgets.key_bar import KeyBar
from agent_tui.tui.widgets.option_row import DraftRow
from tests.fakes.engine import FakeEngine
from tests.fakes.scripted_child import until
from tests.tui import histories
from tests.tui.hostile import TEXTS
from tests.tui.page_host import page_host, painted

SHOWN = (
    "agentName", "apiSecret", "loadFunc", "maxRetry", "numIdleProcesses", "permissions", "port", "production",
    "serverType", "wsURL",
)  # fmt: skip
"""The options that most tests use: the fewer there are, the faster Textual lays out the page."""


@asynccontextmanager
async def page(
    *,
    shown: tuple[Option, ...] = tuple(each for each in OPTIONS if each.name in SHOWN),
    size: tuple[int, int] = (120, 40),
    **options: str,
) -> AsyncIterator[tuple[FakeEngine, Pilot[Any], OptionsPage]]:
    engine = FakeEngine(**options)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(options_page, "OPTIONS", shown)
        async with page_host(engine, "E", size=size) as (app, pilot):
            assert isinstance(app.screen, OptionsPage)
            yield engine, pilot, app.screen


def row(shown: OptionsPage, name: str) -> DraftRow:
    return shown.query_one(f"#draft-{name}", DraftRow)


def text(shown: OptionsPage, selector: str = "#options-diff") -> str:
    return str(shown.query_one(selector, Static).content)


def edits(engine: FakeEngine) -> list[cmd.Command]:
    return [each for each in engine.commands if not isinstance(each, cmd.Stop)]


async def give(pilot: Pilot[Any], shown: OptionsPage, name: str, *keys: str) -> None:
    """Move the focus to an option and press keys."""
    row(shown, name).focus_control()
    await pilot.pause()
    await pilot.press(*keys)
    await pilot.pause()


def placeholder(shown: OptionsPage, name: str) -> str:
    return str(row(shown, name).query_one(TextField).placeholder)


def note(shown: OptionsPage, name: str) -> str:
    return str(row(shown, name).query_one(".option-note", Static).content)


def about(shown: OptionsPage) -> str:
    return text(shown, "#options-about")


async def test_every_option_is_in_its_group_with_its_value_as_placeholder() -> None:
    async with page(shown=OPTIONS, port="8085") as (_, _pilot, shown):
        names = [each.option.name for each in shown.query(DraftRow)]
        assert sorted(names) == sorted(option.name for option in OPTIONS)
        assert names[:5] == ["agent", "production", "onReload", "pin", "wsURL"]
        titles = [str(each.content) for each in shown.query(".group-title").results(Static)]
        assert titles == [
            "Agent", "Reload", "Server", "Jobs", "Processes", "Memory", "Logs and debugging", "HTTP endpoint"
        ]  # fmt: skip
        assert row(shown, "port").query_one(TextField).value == ""
        assert placeholder(shown, "port") == "8085"
        assert placeholder(shown, "agentName") == "not set"
        assert placeholder(shown, "apiSecret") == "•••"
        assert str(row(shown, "port").query_one(".option-name", Static).content) == "• port"
        assert str(row(shown, "pin").query_one(".option-name", Static).content) == "  pin"
        assert "--port" in str(row(shown, "port").query_one(".option-aside", Static).content)
        assert note(shown, "port") == ""
        assert text(shown) == "no edits"
        assert shown.query_one("#options-apply", Button).disabled


async def test_the_file_and_server_in_use_are_shown_where_no_option_names_them() -> None:
    engine = FakeEngine()
    histories.idle(engine)
    async with page_host(engine, "E") as (app, pilot):
        shown = app.screen
        assert isinstance(shown, OptionsPage)
        assert placeholder(shown, "agent") == "agent.py"
        assert placeholder(shown, "wsURL") == "ws://127.0.0.1:40123 (embedded)"
        assert "not set · uses agent.py" in about(shown)
        engine.publish(histories.LOCAL)
        await painted(app, engine, pilot)
        await until(lambda: placeholder(shown, "wsURL") == "ws://localhost:7880 (local)")


async def test_edits_are_collected_and_applied_together() -> None:
    async with page() as (engine, pilot, shown):
        await give(pilot, shown, "numIdleProcesses", "right", "right")
        await give(pilot, shown, "serverType", "right")
        await give(pilot, shown, "loadFunc", "right")
        row(shown, "permissions").query_one("#permission-hidden", Checkbox).value = True
        await give(pilot, shown, "port", *"80")
        assert text(shown) == (
            "5 edits not applied: serverType room → publisher, permissions – → hidden=true, "
            "loadFunc – → busy, numIdleProcesses 1 → 3, port 0 → 80"
        )
        assert note(shown, "serverType") == "● was room · applies at once; the worker registers again"
        assert edits(engine) == []
        await pilot.press("ctrl+s")
        await pilot.pause()
        wanted = {
            "serverType": "publisher",
            "permissions": "hidden=true",
            "loadFunc": "busy",
            "numIdleProcesses": "3",
            "port": "80",
        }
        assert edits(engine) == [cmd.SetOptions(wanted)]
        assert shown.edits == {}
        assert row(shown, "permissions").before == "hidden=true"
        assert placeholder(shown, "port") == "80"
        assert row(shown, "port").query_one(TextField).value == ""


async def test_the_error_is_under_the_field_that_is_wrong() -> None:
    async with page(shown=OPTIONS) as (engine, pilot, shown):
        await give(pilot, shown, "port", *"70000")
        assert note(shown, "port").startswith("✗ '70000' (typed) is above 65535")
        await give(pilot, shown, "agentName", "b")
        await pilot.press("ctrl+s")
        await pilot.pause()
        assert edits(engine) == []
        assert "port: " in text(shown)
        assert row(shown, "port").has_focus_within


async def test_what_the_engine_refuses_is_under_its_field_and_keeps_what_was_typed() -> None:
    async with page() as (engine, pilot, shown):
        engine.refuse = "wsURL: no server there; the old values are kept"
        await give(pilot, shown, "wsURL", *"ws:", "slash", "slash", "n")
        await give(pilot, shown, "port", "9", "ctrl+s")
        assert note(shown, "wsURL") == "✗ no server there; the old values are kept"
        assert "the old values are kept" in text(shown)
        assert shown.edits == {"wsURL": "ws://n", "port": "9"}
        assert row(shown, "wsURL").has_focus_within
        await pilot.press("o")
        assert note(shown, "wsURL").startswith("● was")


async def test_escape_asks_before_edits_are_lost() -> None:
    async with page() as (_, pilot, shown):
        await give(pilot, shown, "agentName", *"bob", "escape")
        assert isinstance(pilot.app.screen, Confirm)
        await pilot.press("n")
        await pilot.pause()
        assert shown.is_current
        assert shown.edits == {"agentName": "bob"}
        await pilot.press("escape", "y")
        await until(lambda: not shown.is_attached)


async def test_without_edits_escape_closes() -> None:
    async with page() as (_, pilot, shown):
        await pilot.press("escape")
        await until(lambda: not shown.is_attached)


async def test_right_copies_the_value_and_backspace_sets_none() -> None:
    async with page(agentName="bob", port="80") as (_, pilot, shown):
        await give(pilot, shown, "agentName", "right", "s")
        assert shown.edits == {"agentName": "bobs"}
        await pilot.press("ctrl+u", "backspace")
        await pilot.pause()
        assert shown.edits == {"agentName": ""}
        assert placeholder(shown, "agentName") == "empty"
        await pilot.press("backspace")
        await pilot.pause()
        assert shown.edits == {}
        await give(pilot, shown, "port", "backspace")  # a port cannot be empty
        assert shown.edits == {}


async def test_keys_move_between_options_and_show_their_help() -> None:
    async with page(shown=OPTIONS, maxRetry="3") as (_, pilot, shown):
        first = about(shown)
        assert first.startswith("agent")
        assert "at the next start, once it is saved" in " ".join(first.split())
        await pilot.press("end")
        last = about(shown)
        assert last.startswith("port")
        await pilot.press("pageup")
        assert about(shown) not in (first, last)
        await pilot.press("home")
        assert about(shown) == first
        await pilot.press("pagedown")
        assert not about(shown).startswith("agent")
        await give(pilot, shown, "maxRetry")
        for expected in (
            "value    3",
            "from     --maxRetry",
            "default  16",
            "AGENT_TUI_MAX_RETRY",
            "at once",
        ):
            assert expected in about(shown)
        await pilot.press("7", "home", "end")  # in text, they move the cursor
        assert about(shown).startswith("maxRetry")


async def test_help_has_room_on_a_small_terminal() -> None:
    async with page(shown=OPTIONS, size=(80, 24)) as (_, pilot, shown):
        await give(pilot, shown, "maxRetry")
        assert "value 16 · from default · default 16" in about(shown)
        assert shown.query_one("#options-help").region.width > 70
        assert row(shown, "maxRetry").region.bottom <= shown.query_one("#options-rows").region.bottom


async def test_slash_searches_names_flags_and_help() -> None:
    async with page(shown=OPTIONS) as (_, pilot, shown):

        def seen() -> set[str]:
            return {each.option.name for each in shown.query(DraftRow) if each.display}

        await pilot.press("slash", *"memory")
        assert seen() == {"jobMemoryWarnMB", "jobMemoryLimitMB"}
        assert "2 of 26" in str(shown.query_one("#options-box").border_title)
        await pilot.press("down")
        assert about(shown).startswith("jobMemoryWarnMB")
        await pilot.press("slash", *(["backspace"] * 6), *"log_level", "enter")
        assert seen() == {"logLevel"}
        assert about(shown).startswith("logLevel")
        await pilot.press("slash", *"zzz")
        assert seen() == set()
        assert "no option matches" in text(shown, "#options-none")
        await pilot.press("escape")
        assert len(seen()) == len(OPTIONS)
        assert shown.is_current


async def test_keys_that_are_typed_at_once_after_slash_are_the_search() -> None:
    async with page() as (_, pilot, shown):
        await give(pilot, shown, "agentName")
        for char in "/idle":
            key = "slash" if char == "/" else char
            pilot.app.post_message(events.Key(key, char))
        find = shown.query_one("#options-find", Input)
        await until(lambda: len(find.value) == 4)
        assert sorted(find.value) == sorted("idle")
        assert shown.edits == {}


async def test_changed_only_shows_what_differs_from_the_defaults() -> None:
    async with page(shown=OPTIONS, port="8085") as (_, pilot, shown):
        await give(pilot, shown, "maxRetry", "3", "ctrl+o")
        seen = {each.option.name for each in shown.query(DraftRow) if each.display}
        assert seen == {"apiSecret", "maxRetry", "port"}
        assert "changed only" in str(shown.query_one("#options-box").border_title)
        await pilot.press("ctrl+o")
        await pilot.pause()
        assert all(each.display for each in shown.query(DraftRow))


async def test_a_click_changes_a_choice() -> None:
    async with page() as (_, pilot, shown):
        choice = row(shown, "serverType").query_one(Choice)
        row(shown, "serverType").scroll_visible(animate=False)
        await pilot.pause()
        await pilot.click(choice, offset=(4, 0))
        assert choice.value == "publisher"
        await pilot.click(choice, offset=(1, 0))
        assert choice.value == "room"


async def test_a_click_on_a_name_goes_to_the_option_as_the_arrows_do() -> None:
    async with page() as (_, pilot, shown):
        await pilot.click(row(shown, "maxRetry").query_one(".option-name"))
        assert shown.focused is row(shown, "maxRetry").control
        await until(lambda: about(shown).startswith("maxRetry"))
        await pilot.press("down")
        assert shown.focused is row(shown, "agentName").control
        await pilot.click(row(shown, "serverType").query_one(".option-name"))
        assert shown.focused is row(shown, "serverType").control


async def test_only_changed_options_have_a_source_and_only_usable_keys_are_offered() -> None:
    async with page(port="8085") as (_, pilot, shown):

        def aside(name: str) -> str:
            return str(row(shown, name).query_one(".option-aside", Static).content)

        def footer() -> str:
            return str(shown.query_one(KeyBar).content)

        assert "--port" in aside("port")
        assert aside("maxRetry") == ""
        await until(lambda: "Changed only" in footer())
        assert "Apply" not in footer()
        assert "Undo" not in footer()
        await give(pilot, shown, "numIdleProcesses", "right")
        await until(lambda: "Apply" in footer())


async def test_functions_of_the_file_appear_when_it_has_loaded() -> None:
    async with page() as (engine, pilot, shown):
        await give(pilot, shown, "loadFunc", "right", "right")
        assert shown.edits == {"loadFunc": "picky"}
        view = engine.state.settings
        engine.publish(ev.SettingsChanged(replace(view, function_names=("later",))))
        await painted(pilot.app, engine, pilot)  # type: ignore[arg-type]
        await until(lambda: row(shown, "loadFunc").query_one(Choice).after(1) == "")
        assert shown.edits == {"loadFunc": "picky"}
        await give(pilot, shown, "loadFunc", "right", "right")
        assert shown.edits == {"loadFunc": "later"}


async def test_changes_from_elsewhere_are_shown_and_edits_kept() -> None:
    async with page() as (engine, pilot, shown):
        await give(pilot, shown, "port", "9")
        engine.settings = engine.settings.edited({"maxRetry": "7", "port": "80"})
        await painted(pilot.app, engine, pilot)  # type: ignore[arg-type]
        await until(lambda: placeholder(shown, "maxRetry") == "7")
        assert shown.edits == {"port": "9"}
        assert note(shown, "port").startswith("● was 80")


async def test_undo_and_save_are_commands() -> None:
    async with page() as (engine, pilot, shown):
        await give(pilot, shown, "maxRetry", "3", "ctrl+w")
        assert "apply the edits first" in text(shown)
        await pilot.press("ctrl+s")
        await pilot.pause()
        await pilot.press("ctrl+w", "ctrl+z")
        await pilot.pause()
        assert edits(engine)[1:] == [cmd.SaveOptions(), cmd.UndoOptions()]
        assert placeholder(shown, "maxRetry") == "16"


async def test_undo_starts_with_edits_that_are_not_applied() -> None:
    async with page() as (engine, pilot, shown):
        await give(pilot, shown, "maxRetry", "3", "ctrl+s")
        await pilot.pause()
        await give(pilot, shown, "port", "9")
        await give(pilot, shown, "maxRetry", "5", "ctrl+z")
        assert shown.edits == {"port": "9"}
        assert text(shown) == "maxRetry: the edit is undone; it was not applied"
        await pilot.press("ctrl+z")
        assert shown.edits == {}
        await pilot.press("ctrl+z")
        await pilot.pause()
        assert edits(engine)[1:] == [cmd.UndoOptions()]


async def test_a_secret_is_hidden_until_revealed_and_never_in_the_notes() -> None:
    async with page() as (_, pilot, shown):
        field = row(shown, "apiSecret").query_one(TextField)
        assert field.password
        reveal = row(shown, "apiSecret").query_one(Button)
        reveal.active_effect_duration = 0  # Textual ignores clicks while a button shows that it is pressed
        await pilot.click(reveal)
        await pilot.pause()
        assert placeholder(shown, "apiSecret") == "a-secret-of-the-fake-engine"
        await pilot.click(reveal)
        await give(pilot, shown, "apiSecret", *"another")
        assert text(shown) == "1 edit not applied: apiSecret ••• → •••"
        assert note(shown, "apiSecret").startswith("● was ••• · ")
        assert field.password
        await pilot.click(reveal)
        assert not field.password


async def test_secrets_are_saved_as_plain_text_only_after_a_question() -> None:
    async with page() as (engine, pilot, shown):
        clear = shown.query_one("#options-clear", Button)
        assert not clear.display
        await give(pilot, shown, "apiSecret", *"another", "ctrl+s")
        assert clear.display
        await pilot.press("ctrl+g")
        await pilot.pause()
        assert edits(engine)[1:] == []
        await pilot.press("y")
        await pilot.pause()
        assert edits(engine)[1:] == [cmd.SaveOptions(clear_secrets=True)]


async def test_pending_options_say_that_they_need_a_restart() -> None:
    async with page() as (_, pilot, shown):
        await give(pilot, shown, "production", "right", "ctrl+s")
        assert "takes effect at the next start, once saved · now false" in note(shown, "production")
        assert "true" in about(shown)


async def test_checkboxes_show_their_state_and_no_source_means_all() -> None:
    async with page() as (_, pilot, shown):
        permissions = row(shown, "permissions")
        boxes = {str(box.id).removeprefix("permission-"): box for box in permissions.query(Checkbox)}
        seen = {name: str(box.render()).split(" ")[0] for name, box in boxes.items() if name != "hidden"}
        assert set(seen.values()) == {"[x]"}
        assert str(boxes["hidden"].render()).startswith("[ ] ")
        assert not permissions.edited
        for name in ("camera", "microphone", "screen_share"):
            boxes[name].toggle()
        await pilot.pause()
        assert permissions.text == "canPublishSources=screen_share_audio"
        boxes["screen_share_audio"].toggle()
        await pilot.pause()
        assert all(boxes[name].value for name in SOURCES)
        assert not permissions.edited


async def test_all_sources_spelled_out_are_no_edit() -> None:
    spelled = "canPublishSources=" + "+".join(SOURCES)
    async with page(permissions=spelled) as (_, pilot, shown):
        permissions = row(shown, "permissions")
        assert not permissions.edited
        camera = permissions.query_one("#permission-camera", Checkbox)
        camera.toggle()
        await pilot.pause()
        assert permissions.edited
        camera.toggle()
        await pilot.pause()
        assert not permissions.edited


async def test_outside_text_stays_text() -> None:
    async with page(size=(80, 24)) as (engine, pilot, shown):
        view = engine.state.settings
        for name, hostile in TEXTS.items():
            before = placeholder(shown, "agentName")
            options = dataclasses.replace(view.resolution.options, agent_name=hostile, ws_url=hostile)
            sources = {**view.resolution.sources, "agentName": ("flag", hostile)}
            resolution = dataclasses.replace(view.resolution, options=options, sources=sources)
            changed = replace(view, resolution=resolution, function_names=(hostile,))
            engine.publish(ev.SettingsChanged(changed))
            await painted(pilot.app, engine, pilot)  # type: ignore[arg-type]
            await until(lambda before=before: placeholder(shown, "agentName") != before)  # type: ignore[misc]
            await give(pilot, shown, "agentName")
            await give(pilot, shown, "loadFunc", "right")
            assert row(shown, "loadFunc").text == hostile, name
            assert "\x1b" not in pilot.app.export_screenshot(), name
            await pilot.press("left")  # no edit is left for the next one
            assert not row(shown, "loadFunc").edited, name


@pytest.mark.parametrize(("agent", "name"), [("src/agent.py", "python"), ("agent.mts", "typescript")])
async def test_the_export_opens_with_the_agents_language(agent: str, name: str) -> None:
    async with page(agent=agent) as (_, pilot, _shown):
        await pilot.press("ctrl+x")
        await pilot.pause()
        assert pilot.app.screen.query_one(Select).value == name
        await pilot.press("c")
        assert ("import { ServerOptions }" in pilot.app.clipboard) == (name == "typescript")


async def test_the_options_are_exported() -> None:
    async with page(agentName="bob") as (_, pilot, shown):
        await pilot.press("ctrl+x")
        await pilot.pause()
        export = pilot.app.screen
        assert isinstance(export, ExportPage)
        copied = set()
        for chosen in ("typescript", "python", "toml", "env"):
            export.query_one(Select).value = chosen
            await pilot.pause()
            text = str(export.query_one("#export-text", Static).render())
            assert "bob" in text, chosen
            await pilot.press("c")
            assert "bob" in pilot.app.clipboard, chosen
            copied.add(pilot.app.clipboard)
        assert len(copied) == 4, "each in its own format"
        await pilot.press("escape")
        await pilot.pause()
        assert shown.is_current
