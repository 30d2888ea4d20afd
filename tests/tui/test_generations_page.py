"""The generations page: loads, keys, and updates while it is open."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from textual.pilot import Pilot

from agent_tui.model import commands as cmd
from agent_tui.model import events as ev
from agent_tui.tui.app import AgentTuiApp
from agent_tui.tui.screens.confirm import Confirm
from agent_tui.tui.screens.generations import GenerationsPage
from agent_tui.tui.widgets.load_list import WHAT, LoadList
from agent_tui.tui.widgets.load_rows import entries, fact_lines
from tests.fakes.engine import FakeEngine
from tests.fakes.scripted_child import until
from tests.tui import histories
from tests.tui.loads import DIFF, HOSTILE, ready, text
from tests.tui.page_host import page_host, painted


def said(page: GenerationsPage, name: str) -> str:
    return str(page.query_one(name).render())


def row(page: GenerationsPage, at: int) -> str:
    return " ".join(str(cell) for cell in page.query_one(LoadList).get_row_at(at))


@asynccontextmanager
async def page_over(
    engine: FakeEngine, size: tuple[int, int] = (120, 40)
) -> AsyncIterator[tuple[AgentTuiApp, GenerationsPage, Pilot[int]]]:
    # The page is complete once the diff of the newest was asked for.
    async with page_host(engine, "g", size=size, ready=lambda: engine.commands) as (app, pilot):
        page = app.screen
        assert isinstance(page, GenerationsPage)
        yield app, page, pilot


async def asked(engine: FakeEngine, count: int) -> None:
    """Return whether the engine has received that many commands."""
    await until(lambda: len(engine.commands) >= count)


@pytest.mark.parametrize("size", [(120, 40), (80, 24), (200, 60)])
async def test_g_shows_what_the_last_save_changed(size: tuple[int, int]) -> None:
    engine = FakeEngine()
    histories.stale(engine)
    engine.results = [cmd.CommandResult(True, DIFF)]
    async with page_over(engine, size) as (app, page, _):
        assert engine.commands == [cmd.DiffGeneration(3)]
        assert page.query_one(LoadList).selected == entries(app.state)[0]
        assert row(page, 0).split()[:3] == ["3", "✗", "failed"]
        shown = said(page, "#loads-text Static")
        assert shown.startswith("KeyError: 'SEARCH_KEY'\nat tools/search.py:7\n   KEY = ")
        assert "++ one that was added" in shown


async def test_arrows_select_and_each_diff_is_requested_once() -> None:
    engine = FakeEngine()
    histories.stale(engine)
    async with page_over(engine) as (_, page, pilot):
        for number, key in enumerate(("down", "down", "down", "up", "up"), 2):
            await pilot.press(key)
            await asked(engine, min(number, 3))
        assert engine.commands == [cmd.DiffGeneration(3), cmd.DiffGeneration(2), cmd.DiffGeneration(1)]
        assert "generation 3 failed to load" in said(page, "#loads-facts")
        await pilot.press("end")
        await pilot.pause()
        assert "generation 1 was replaced" in said(page, "#loads-facts")
        await pilot.press("enter")
        assert page.query_one("#loads-text").has_focus
        await pilot.press("enter")
        assert page.query_one(LoadList).has_focus


@pytest.mark.parametrize("height", [24, 40])
async def test_enter_reads_the_diff_and_escape_goes_back_to_the_list_then_closes(height: int) -> None:
    engine = FakeEngine()
    histories.stale(engine)
    async with page_over(engine, (80, height)) as (app, page, pilot):
        await pilot.press("enter")
        await pilot.pause()
        assert page.query_one("#loads-text").has_focus
        assert page.query_one(LoadList).display is (height > 24), "the diff has a low page for itself"
        await pilot.press("escape")
        await pilot.pause()
        assert page.query_one(LoadList).has_focus
        assert page.query_one(LoadList).display
        await pilot.press("escape")
        await until(lambda: app.screen is not page)


async def test_a_click_selects() -> None:
    engine = FakeEngine()
    histories.stale(engine)
    async with page_over(engine) as (_, page, pilot):
        await pilot.click(LoadList, offset=(5, 3))
        await pilot.pause()
        assert "generation 1 was replaced" in said(page, "#loads-facts")


async def test_a_missing_diff_is_explained() -> None:
    engine = FakeEngine()
    histories.idle(engine)
    engine.results = [cmd.CommandResult(False, "generation 1 was the first")]
    async with page_over(engine) as (_, page, _):
        assert said(page, "#loads-text Static") == "generation 1 was the first"


async def test_a_new_load_appears_on_the_open_page() -> None:
    engine = FakeEngine()
    histories.idle(engine)
    async with page_over(engine) as (app, page, pilot):

        async def happens(event: ev.Event) -> str:
            engine.publish(event)
            await painted(app, engine, pilot)
            return said(page, "#loads-facts")

        assert "generation 2 is loading" in await happens(ev.GenerationLoading(2, "/v/agent.py"))
        assert cmd.DiffGeneration(2) not in engine.commands
        assert "generation 2 is current" in await happens(ready(2, cause="/v/agent.py"))
        await until(lambda: engine.commands[-1] == cmd.DiffGeneration(2))
        await pilot.press("down")
        assert "generation 1 was replaced" in await happens(ready(3, cause="/v/agent.py"))
        assert row(page, 0).split()[:3] == ["3", "●", "current"]
        assert engine.commands[-1] != cmd.DiffGeneration(3)


async def test_a_roll_back_is_confirmed_first_and_then_shown() -> None:
    engine = FakeEngine()
    histories.stale(engine)
    async with page_over(engine) as (app, page, pilot):
        await pilot.press("down", "down", "b")
        await pilot.pause()
        assert isinstance(app.screen, Confirm)
        await pilot.press("enter")  # answers no
        await pilot.pause()
        assert app.screen_stack[-1] is page
        assert cmd.RollBack(1) not in engine.commands
        await pilot.press("b")
        await pilot.pause()
        await pilot.press("y")
        await until(lambda: cmd.RollBack(1) in engine.commands)
        engine.publish(ready(4, cause="roll back to 1", rolled_back_to=1))
        await painted(app, engine, pilot)
        assert "generation 4 is current" in said(page, "#loads-facts")
        assert "rolled back to 1 · the next save or r" in str(page.query_one("#loads-box").border_title)


@pytest.mark.parametrize(
    ("presses", "why"), [(0, "select a generation that has loaded"), (1, "generation 2 is already current")]
)
async def test_an_impossible_roll_back_is_refused_at_once(presses: int, why: str) -> None:
    engine = FakeEngine()
    histories.stale(engine)
    async with page_over(engine) as (app, page, pilot):
        await pilot.press(*["down"] * presses, "b")
        await pilot.pause()
        assert app.screen is page
        assert any(why in each.text for each in app.notices)


async def test_r_reloads_and_a_failure_is_shown() -> None:
    engine = FakeEngine()
    histories.idle(engine)
    async with page_over(engine) as (app, _, pilot):
        engine.results = [cmd.CommandResult(False, "the [file] does not load")]
        await pilot.press("r")
        await until(lambda: app.notices)
        assert engine.commands[-1] == cmd.Reload()
        assert [each.text for each in app.notices] == ["the [file] does not load"]


async def test_c_compares_with_the_current_generation_and_back() -> None:
    engine = FakeEngine()
    histories.stale(engine)
    async with page_over(engine) as (_, page, pilot):
        for number, key in enumerate(("down", "down", "c"), 2):
            await pilot.press(key)
            await asked(engine, number)
        assert engine.commands[-1] == cmd.DiffGeneration(1, 2)
        await pilot.press("up")  # the current generation is compared with the previous load
        await pilot.pause()
        assert "generation 2 is current" in said(page, "#loads-facts")
        await pilot.press("down", "c")
        await pilot.pause()
        diffs = [each for each in engine.commands if isinstance(each, cmd.DiffGeneration)]
        assert [(each.number, each.against) for each in diffs] == [(3, None), (2, None), (1, None), (1, 2)]


async def test_a_load_after_a_broken_one_is_compared_with_the_last_good_one() -> None:
    engine = FakeEngine()
    histories.stale(engine)
    engine.publish(ready(4, cause="/v/agent.py"))
    async with page_over(engine) as (_, _, pilot):
        assert engine.commands == [cmd.DiffGeneration(4, 2)]
        await pilot.press("down")
        await asked(engine, 2)
        assert engine.commands[-1] == cmd.DiffGeneration(3)


async def test_the_list_is_sorted_by_key_and_by_click() -> None:
    engine = FakeEngine()
    histories.stale(engine)
    async with page_over(engine) as (_, page, pilot):

        def numbers() -> list[str]:
            return [row(page, at).split()[0] for at in range(3)]

        assert numbers() == ["3", "2", "1"]
        await pilot.press("S")
        assert page.query_one(LoadList).order.column == "gen"
        await pilot.click(LoadList, offset=(1, 0))
        assert numbers() == ["1", "2", "3"]
        await pilot.click(LoadList, offset=(1, 0))
        assert numbers() == ["3", "2", "1"]
        assert page.query_one(LoadList).order.column == ""


async def test_digits_and_brackets_move_between_the_list_and_the_diff() -> None:
    engine = FakeEngine()
    histories.stale(engine)
    async with page_over(engine) as (_, page, pilot):
        loads, diff = page.query_one(LoadList), page.query_one("#loads-text")
        for key, focused in (
            ("2", diff),
            ("1", loads),
            ("right_square_bracket", diff),
            ("left_square_bracket", loads),
        ):
            await pilot.press(key)
            assert focused.has_focus, key


@pytest.mark.parametrize(
    ("presses", "place"),
    [
        (0, ("/home/ann/voice/tools/search.py", 7)),  # the failing line
        (1, ("/home/ann/voice/agent.py", 9)),  # the first change
        (2, ("/home/ann/voice/agent.py", 1)),
    ],
)
async def test_e_opens_the_failing_or_the_first_changed_line(
    presses: int, place: tuple[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[tuple[str, int]] = []

    def open_in_editor(_: object, file: Path, line: int) -> None:
        opened.append((str(file), line))

    monkeypatch.setattr("agent_tui.tui.action_handlers.open_in_editor", open_in_editor)
    engine = FakeEngine()
    histories.stale(engine)
    first = cmd.CommandResult(False, "generation 1 was the first")
    engine.results = [cmd.CommandResult(True, "…"), cmd.CommandResult(True, DIFF), first]
    async with page_over(engine) as (_, _, pilot):
        for number in range(presses):
            await pilot.press("down")
            await asked(engine, number + 2)
            await pilot.pause()
        await pilot.press("e")
        await pilot.pause()
        assert opened == [place]


async def test_without_an_editor_e_says_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("EDITOR", raising=False)
    monkeypatch.delenv("VISUAL", raising=False)
    monkeypatch.setenv("PATH", "/nowhere")
    engine = FakeEngine()
    histories.idle(engine)
    async with page_over(engine) as (app, _, pilot):
        await pilot.press("e")
        await pilot.pause()
        assert any("set VISUAL or EDITOR" in each.text for each in app.notices)


async def test_the_text_scrolls_by_pages_while_the_list_has_the_focus() -> None:
    engine = FakeEngine()
    histories.idle(engine)
    engine.results = [cmd.CommandResult(True, "\n".join(f"line {number}" for number in range(200)))]
    async with page_over(engine, (80, 24)) as (_, page, pilot):
        await pilot.press("space")
        await pilot.pause()
        below = page.query_one("#loads-text").scroll_offset.y
        assert below > 0
        await pilot.press("pageup")
        await pilot.pause()
        assert page.query_one("#loads-text").scroll_offset.y == 0


@pytest.mark.parametrize("key", ["escape", "q", "g"])
async def test_it_closes(key: str) -> None:
    engine = FakeEngine()
    histories.idle(engine)
    async with page_over(engine) as (app, page, pilot):
        await pilot.press(key)
        await pilot.pause()
        assert app.screen is not page


@pytest.mark.parametrize("size", [(120, 40), (80, 24)])
async def test_hostile_names_causes_and_diffs_stay_text(size: tuple[int, int]) -> None:
    engine = FakeEngine()
    histories.idle(engine)
    name = f"/v/{HOSTILE}/agent.py"
    failed = ev.GenerationFailed(3, HOSTILE, name, 1, f'File "{name}", line 1\n  {HOSTILE}\n', name, 0.1)
    engine.publish(ready(2, cause=name, changed=(name, name + "2"), start_reason=HOSTILE), failed)
    engine.results = [
        cmd.CommandResult(True, f"{HOSTILE}\n--- {HOSTILE}\n+++ a\n@@ -0,0 +1 @@\n+{HOSTILE}")
    ] * 3
    async with page_over(engine, size) as (app, page, pilot):
        for _ in range(3):
            shown = [said(page, part) for part in ("#loads-facts", "#loads-text Static")]
            for part in (*shown, *(row(page, at) for at in range(page.query_one(LoadList).row_count))):
                assert not set("\x1b\u202e\r\x07") & set(part)
            await pilot.press("down")
            await pilot.pause()
        assert app._exception is None
    assert "[bold]x[/]" in text(fact_lines(entries(engine.bus.state)[1], engine.bus.state, 0.0))


async def test_a_narrow_table_keeps_what_matters_most() -> None:
    engine = FakeEngine()
    histories.stale(engine)
    async with page_over(engine, (80, 24)) as (_, page, _pilot):
        shown = {column.key: width for column, width in page.query_one(LoadList)._columns_shown}
        assert set(shown) == {"gen", "state", "took", "running", WHAT}
        assert shown[WHAT] >= 34
        assert row(page, 1).split()[:4] == ["2", "●", "current", "54"]
    engine = FakeEngine()
    engine.publish(*(ready(number) for number in range(1, 4)))
    async with page_over(engine, (80, 24)) as (_, page, _pilot):
        shown = {column.key: width for column, width in page.query_one(LoadList)._columns_shown}
        assert "running" not in shown, "no call runs"
        assert "at" in shown
