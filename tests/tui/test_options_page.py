"""The options page: edits are collected, checked, shown, and sent as one command."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from textual.pilot import Pilot
from textual.widgets import Button, Checkbox, Input, Select, Static

from agent_tui.model import commands as cmd
from agent_tui.options.declare import OPTIONS, Option
from agent_tui.options.permissions import SOURCES
from agent_tui.tui.screens import options as options_page
from agent_tui.tui.screens.export import ExportPage
from agent_tui.tui.screens.options import DraftRow, OptionsPage
from tests.fakes.engine import FakeEngine
from tests.tui.page_host import page_host

SHOWN = (
    "agentName", "apiSecret", "loadFunc", "maxRetry", "numIdleProcesses", "permissions", "port", "production",
    "serverType", "wsURL",
)  # fmt: skip
"""The options that the tests use: with all of them Textual takes 2 s to lay out each page."""


@asynccontextmanager
async def page(
    *, shown: tuple[Option, ...] = tuple(each for each in OPTIONS if each.name in SHOWN), **options: str
) -> AsyncIterator[tuple[FakeEngine, Pilot[Any], OptionsPage]]:
    engine = FakeEngine(**options)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(options_page, "OPTIONS", shown)
        async with page_host(engine, "E") as (app, pilot):
            assert isinstance(app.screen, OptionsPage)
            yield engine, pilot, app.screen


def row(shown: OptionsPage, name: str) -> DraftRow:
    return shown.query_one(f"#draft-{name}", DraftRow)


def text(shown: OptionsPage, selector: str = "#options-diff") -> str:
    return str(shown.query_one(selector, Static).render())


def edits(engine: FakeEngine) -> list[cmd.Command]:
    return [each for each in engine.commands if not isinstance(each, cmd.Stop)]


async def test_every_option_has_its_value_and_source() -> None:
    async with page(shown=OPTIONS, port="8085") as (_, _pilot, shown):
        assert [each.option.name for each in shown.query(DraftRow)] == [option.name for option in OPTIONS]
        assert row(shown, "port").control.text == "8085"
        assert "--port" in str(row(shown, "port").query_one(".draft-note", Static).render())
        assert text(shown) == "no edits"
        assert shown.query_one("#options-apply", Button).disabled


async def test_edits_are_collected_and_applied_together() -> None:
    async with page() as (engine, pilot, shown):
        row(shown, "numIdleProcesses").query_one(Input).value = "3"
        row(shown, "serverType").query_one(Select).value = "publisher"
        row(shown, "loadFunc").query_one(Select).value = "busy"
        row(shown, "permissions").query_one("#permission-hidden", Checkbox).value = True
        await pilot.pause()
        assert text(shown).split("\n") == [
            "serverType room → publisher (worker re-registers)",
            "permissions – → hidden=true (worker re-registers)",
            "loadFunc – → busy (restarts idle processes)",
            "numIdleProcesses 1 → 3 (live)",
        ]
        assert edits(engine) == []
        await pilot.press("ctrl+s")
        await pilot.pause()
        wanted = {
            "serverType": "publisher",
            "permissions": "hidden=true",
            "loadFunc": "busy",
            "numIdleProcesses": "3",
        }
        assert edits(engine) == [cmd.SetOptions(wanted)]
        assert shown.edits == {}
        assert row(shown, "permissions").before == "hidden=true"


async def test_a_bad_value_is_reported_while_typing_and_not_sent() -> None:
    async with page() as (engine, pilot, shown):
        row(shown, "port").query_one(Input).value = "70000"
        await pilot.pause()
        assert "is above 65535" in str(row(shown, "port").query_one(".draft-note", Static).render())
        await pilot.press("ctrl+s")
        await pilot.pause()
        assert edits(engine) == []
        assert "port: " in text(shown)


async def test_a_refused_command_keeps_what_was_typed() -> None:
    async with page() as (engine, pilot, shown):
        engine.refuse = "no server there; the old values stay in force"
        row(shown, "wsURL").query_one(Input).value = "ws://nowhere"
        await pilot.pause()
        await pilot.press("ctrl+s")
        await pilot.pause()
        assert "the old values stay" in text(shown)
        assert shown.edits == {"wsURL": "ws://nowhere"}
        assert row(shown, "wsURL").before == ""


async def test_escape_discards_edits_and_then_closes() -> None:
    async with page() as (_, pilot, shown):
        row(shown, "agentName").query_one(Input).value = "bob"
        await pilot.pause()
        await pilot.press("escape")
        await pilot.pause()
        assert shown.edits == {}
        assert shown.is_current
        await pilot.press("escape")
        await pilot.pause()
        assert not shown.is_attached


async def test_undo_and_save_are_commands() -> None:
    async with page() as (engine, pilot, shown):
        row(shown, "maxRetry").query_one(Input).value = "3"
        await pilot.pause()
        await pilot.press("ctrl+w")
        await pilot.pause()
        assert "apply the edits first" in text(shown)
        await pilot.press("ctrl+s")
        await pilot.pause()
        await pilot.press("ctrl+w", "ctrl+z")
        await pilot.pause()
        assert edits(engine)[1:] == [cmd.SaveOptions(), cmd.UndoOptions()]
        assert row(shown, "maxRetry").control.text == "16"


async def test_a_secret_is_hidden_until_revealed_and_never_in_the_diff() -> None:
    async with page() as (_, pilot, shown):
        field = row(shown, "apiSecret").query_one(Input)
        assert field.password
        field.value = "another-secret"
        await pilot.pause()
        assert text(shown) == "apiSecret ••• → ••• (worker re-registers)"
        await pilot.click(row(shown, "apiSecret").query_one(Button))
        assert not field.password


async def test_secrets_are_saved_as_plain_text_only_after_a_question() -> None:
    async with page() as (engine, pilot, shown):
        clear = shown.query_one("#options-clear", Button)
        assert not clear.display
        row(shown, "apiSecret").query_one(Input).value = "another-secret"
        await pilot.pause()
        await pilot.press("ctrl+s")
        await pilot.pause()
        assert clear.display
        await pilot.press("ctrl+g")
        await pilot.pause()
        assert edits(engine)[1:] == []
        await pilot.press("y")
        await pilot.pause()
        assert edits(engine)[1:] == [cmd.SaveOptions(clear_secrets=True)]


async def test_pending_options_say_that_they_need_a_restart() -> None:
    async with page() as (_, pilot, shown):
        row(shown, "production").query_one(Select).value = "true"
        await pilot.pause()
        await pilot.press("ctrl+s")
        await pilot.pause()
        assert "takes effect at the next start, once saved · now false" in str(
            row(shown, "production").query_one(".draft-note", Static).render()
        )


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
        assert permissions.control.text == "canPublishSources=screen_share_audio"
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


@pytest.mark.parametrize(("agent", "name"), [("src/agent.py", "python"), ("agent.mts", "typescript")])
async def test_the_export_opens_with_the_agents_language(agent: str, name: str) -> None:
    async with page(agent=agent) as (_, pilot, _shown):
        await pilot.press("ctrl+x")
        await pilot.pause()
        assert pilot.app.screen.query_one(Select).value == name
        await pilot.press("c")
        assert ("import { ServerOptions }" in pilot.app.clipboard) == (name == "typescript")


@pytest.mark.parametrize("chosen", ["typescript", "python", "toml", "env"])
async def test_the_options_are_exported(chosen: str) -> None:
    async with page(agentName="bob") as (_, pilot, shown):
        await pilot.press("ctrl+x")
        await pilot.pause()
        export = pilot.app.screen
        assert isinstance(export, ExportPage)
        export.query_one(Select).value = chosen
        await pilot.pause()
        assert "bob" in str(export.query_one("#export-text", Static).render())
        await pilot.press("c")
        assert "bob" in pilot.app.clipboard
        await pilot.press("escape")
        await pilot.pause()
        assert shown.is_current
