"""The generations page: what it says of each load, its keys, and that it follows what is loaded."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from textual.pilot import Pilot

from agent_tui.model import commands as cmd
from agent_tui.model import events as ev
from agent_tui.model.child import ProcessKind
from agent_tui.model.state import AppState, LoadRecord
from agent_tui.tui.app import AgentTuiApp
from agent_tui.tui.screens.confirm import Confirm
from agent_tui.tui.screens.generations import GenerationsPage
from agent_tui.tui.widgets.load_list import LoadList
from agent_tui.tui.widgets.load_rows import bar, entries, fact_lines, memory, row, short, step_lines
from agent_tui.tui.widgets.load_text import (
    diff_lines,
    failing_line,
    failure_lines,
    first_change,
    folded,
    marked,
)
from agent_tui.tui.widgets.text import Line, Tone, width_of
from tests.fakes.engine import FakeEngine
from tests.fakes.scripted_child import until
from tests.tui import histories

DIFF = """generation 2 against 1: 2 files, +2 -2 lines
--- agent.py
+++ agent.py
@@ -8,3 +8,3 @@
 before
--- a comment that was removed
+++ one that was added
 after
--- tools/gone.py
+++ /dev/null
@@ -1 +0,0 @@
-x
=== .env changed: its content is not kept"""
HOSTILE = "\x1b[2J\r[bold]x[/]\x1b]0;title\x07\u202e[red"


def text(lines: tuple[Line, ...]) -> str:
    return "\n".join("".join(span.text for span in line) for line in lines)


def said(page: GenerationsPage, name: str) -> str:
    return str(page.query_one(name).render())


def ready(number: int, **more: object) -> ev.GenerationReady:
    return replace(histories.READY, generation=number, **more)  # type: ignore[arg-type]


def state_of(*events: ev.Event) -> AppState:
    engine = FakeEngine()
    engine.publish(*histories.STARTING, *events)
    return engine.bus.state


@asynccontextmanager
async def page_over(
    engine: FakeEngine, size: tuple[int, int] = (120, 40)
) -> AsyncIterator[tuple[AgentTuiApp, GenerationsPage, Pilot[int]]]:
    async def make() -> FakeEngine:
        return engine

    app = AgentTuiApp(make, now=engine.clock.time)
    async with app.run_test(size=size) as pilot:
        await pilot.pause(0.1)
        app._paint()
        await pilot.press("g")
        await until(lambda: engine.commands)  # the diff of the newest
        await pilot.pause()
        page = app.screen
        assert isinstance(page, GenerationsPage)
        yield app, page, pilot
    await app.ended()


async def asked(engine: FakeEngine, count: int) -> None:
    """So many commands came."""
    await until(lambda: len(engine.commands) >= count)


async def painted(app: AgentTuiApp, engine: FakeEngine, pilot: Pilot[int]) -> None:
    """What was published is on the screen."""
    await until(lambda: app._bridge is not None and app._bridge.state == engine.bus.state)
    app._paint()
    await pilot.pause()


# -- rows and facts ---------------------------------------------------------------------------------------


def test_loads_that_were_overtaken_are_told_where_they_went() -> None:
    state = state_of(
        ev.GenerationLoading(1, "start"),
        ready(1),
        *(ev.GenerationLoading(number, "/v/agent.py") for number in (2, 3, 4)),
        ready(4, cause="/v/agent.py"),
        ev.GenerationLoading(5, "/v/agent.py"),
        ev.GenerationLoading(6, "/v/tools.py"),
    )
    assert [(each.number, each.overtook) for each in entries(state)] == [(6, (5,)), (4, (2, 3)), (1, ())]
    loading, newest, _ = entries(state)
    assert "is loading\n  cause    v/tools.py was saved" in text(fact_lines(loading, state, 0.0))
    assert "overtook 2 to 3, saved again while loading" in text(fact_lines(newest, state, 0.0))


def test_a_generation_that_is_given_up_has_two_rows() -> None:
    state = state_of(ready(1), ev.GenerationFailed(1, "KeyError", None, None, "", "its processes …"))
    failed, good = entries(state)
    assert failed.key != good.key
    assert "does not start" in text(fact_lines(failed, state, 0.0))
    assert "serves" in text(fact_lines(good, state, 0.0))


@pytest.mark.parametrize("width", [60, 76, 118])
@pytest.mark.parametrize("history", histories.ALL)
def test_every_row_fills_its_width(history: str, width: int) -> None:
    engine = FakeEngine()
    histories.ALL[history](engine)
    state = engine.bus.state
    for entry in entries(state):
        assert width_of(row(entry, state, width, selected=True)) == width


def test_what_is_known_of_the_one_that_serves_and_of_an_older_one_with_jobs() -> None:
    engine = FakeEngine()
    histories.stale(engine)
    state, now = engine.bus.state, engine.clock.time()
    failed, current, first = entries(state)
    facts = text(fact_lines(current, state, now))
    assert "● generation 2 serves, 54 ms after the save" in facts
    assert "changed  agent.py, tools/search.py" in facts
    assert "fork: loading takes 9 ms" in facts
    facts = text(fact_lines(first, state, now))
    assert "jobs     AJ_k3Lm9QxTzW2a in demo-1, 0:07" in facts
    assert "2 with a job" in facts
    assert "memory" not in text(fact_lines(failed, state, now))
    assert "2 jobs" in text((row(first, state, 80, selected=False),))


def test_files_are_told_as_seen_from_the_agents_folder() -> None:
    state = state_of()
    paths = (
        "/home/ann/voice/agent.py",
        "/home/ann/voice/tools/search.py",
        "/home/ann/shared/text.py",
        "start",
    )
    assert [short(path, state) for path in paths] == [
        "agent.py",
        "tools/search.py",
        "shared/text.py",
        "start",
    ]


def test_memory_is_the_sum_of_what_all_of_them_have() -> None:
    state = state_of(
        *(ev.ProcessChanged(id, 1, ProcessKind.JOB, ev.ProcessState.IDLE, 1) for id in ("a", "b"))
    )
    one, other = state.processes.values()
    assert memory([one, other]) == "not measured yet: 2 processes (2 idle)"
    one = replace(one, rss_mb=100.0, uss_mb=20.0, pss_mb=40.0)
    assert memory([one, replace(one, pss_mb=41.0)]) == "81M pss in 2 processes (2 idle)"
    assert memory([one, replace(one, pss_mb=None)]) == "40M uss in 2 processes (2 idle)"
    assert memory([one, replace(other, rss_mb=50.0)]) == "150M rss in 2 processes (2 idle)"


def test_what_runs_is_told_not_to_be_what_is_on_disk() -> None:
    state = state_of(
        ready(1), ready(2, cause="/v/agent.py"), ready(3, cause="roll back to 1", rolled_back_to=1)
    )
    newest, *_ = entries(state)
    said = text(fact_lines(newest, state, 0.0))
    assert "cause    roll back to 1" in said
    assert "that of generation 1, not what is on disk" in said
    later = state_of(ready(1), ready(3, rolled_back_to=1), ready(4))
    assert "not what is on disk" not in text(fact_lines(entries(later)[1], later, 0.0))


def test_a_bar_for_each_step_that_there_was() -> None:
    steps = ev.LoadSteps(seen=10.0, read=0.0, load=40.0)
    record = LoadRecord(1, 0.0, good=True, cause="start", seconds=None, steps=steps)
    lines = text(step_lines(record)).split("\n")
    assert [line.split()[:2] for line in lines] == [["save", "seen"], ["files", "read"], ["file", "loaded"]]
    assert [line.count("█") for line in lines] == [5, 0, 20]
    assert all(
        width_of(line) <= 76 for line in step_lines(replace(record, steps=ev.LoadSteps(*[12.0] * 7)), 3)
    )
    assert step_lines(replace(record, steps=ev.LoadSteps())) == ()
    assert [bar(share, 2) for share in (0.0, 0.001, 0.5, 1.0, 7.0)] == ["", "▏", "█", "██", "██"]


# -- diffs and failures -----------------------------------------------------------------------------------


def test_lines_of_a_diff_are_known_by_their_place() -> None:
    assert "".join(kind for kind, _, _ in marked(DIFF)) == "=ff@ -+ ff@-="
    tones = {"".join(span.text for span in line): line[0].tone for line in diff_lines(DIFF, 100) if line}
    assert tones["--- a comment that was removed"] is Tone.GONE
    assert tones["+++ one that was added"] is Tone.GOOD
    assert tones["--- agent.py"] is tones["+++ /dev/null"] is Tone.STRONG


def test_the_first_change_of_a_file_that_is_there() -> None:
    assert first_change(DIFF) == ("agent.py", 9)
    assert first_change(
        "one\n--- a\n+++ /dev/null\n@@ -1 +0,0 @@\n-x\n--- b\n+++ b\n@@ -1 +1,2 @@\n a\n+b"
    ) == ("b", 2)
    assert first_change("generation 1 was the first") is None


def test_a_long_line_keeps_its_sign_in_each_row() -> None:
    rows = folded("+" + "漢" * 30, 20)
    assert all(each.startswith("+") for each in rows)
    assert "".join(each.removeprefix("+").removeprefix("… ") for each in rows) == "漢" * 30
    assert folded("", 20) == [""]


def test_text_from_outside_is_one_row_of_text() -> None:
    for line in diff_lines(f"head\n--- {HOSTILE}\n+++ x\n@@ -0,0 +1 @@\n+{HOSTILE}", 60):
        assert not set("\x1b\u202e\r\x07\n") & set("".join(span.text for span in line))


def test_a_failure_with_the_line_that_failed() -> None:
    traceback = (
        'Traceback:\n  File "/v/agent.py", line 3, in <module>\n    from tools import search\n'
        '  File "<frozen importlib._bootstrap>", line 1176, in _find_and_load\n'
        '  File "/v/search.py", line 7, in <module>\n    KEY = os.environ["KEY"]\nKeyError: \'KEY\'\n'
    )
    record = LoadRecord(
        3, 0.0, good=False, cause="x", seconds=None, error="KeyError", file="/v/search.py", line=7,
        traceback=traceback,
    )  # fmt: skip
    assert failing_line(record) == 'KEY = os.environ["KEY"]'
    said = text(failure_lines(record, 100))
    assert said.startswith('KeyError\nat /v/search.py:7\n   KEY = os.environ["KEY"]\n\nTraceback:')
    assert "importlib" not in said
    assert failing_line(replace(record, line=70)) == ""
    assert failing_line(replace(record, traceback="")) == ""
    long = replace(record, traceback="\n".join(f"line {number}" for number in range(100)))
    assert "… 40 lines before\nline 40" in text(failure_lines(long, 100))


# -- the page ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [(120, 40), (80, 24), (200, 60)])
async def test_one_key_tells_what_the_last_save_changed(size: tuple[int, int]) -> None:
    engine = FakeEngine()
    histories.stale(engine)
    engine.results = [cmd.CommandResult(True, DIFF)]
    async with page_over(engine, size) as (app, page, _):
        assert engine.commands == [cmd.DiffGeneration(3)]
        assert page.query_one(LoadList).selected == entries(app.state)[0]
        assert "▸ ✗   3" in said(page, "#loads-list Static")
        shown = said(page, "#loads-text Static")
        assert shown.startswith("KeyError: 'SEARCH_KEY'\nat /home/ann/voice/tools/search.py:7\n   KEY = ")
        assert "+++ one that was added" in shown


async def test_arrows_choose_and_each_diff_is_asked_for_once() -> None:
    engine = FakeEngine()
    histories.stale(engine)
    async with page_over(engine) as (_, page, pilot):
        for number, key in enumerate(("down", "down", "down", "up", "up"), 2):
            await pilot.press(key)
            await asked(engine, min(number, 3))
        assert engine.commands == [cmd.DiffGeneration(3), cmd.DiffGeneration(2), cmd.DiffGeneration(1)]
        assert "generation 3 does not load" in said(page, "#loads-facts")
        await pilot.press("end")
        await pilot.pause()
        assert "generation 1 was ready" in said(page, "#loads-facts")
        await pilot.press("enter")
        assert page.query_one("#loads-text").has_focus
        await pilot.press("enter")
        assert page.query_one(LoadList).has_focus


async def test_a_click_chooses() -> None:
    engine = FakeEngine()
    histories.stale(engine)
    async with page_over(engine) as (_, page, pilot):
        await pilot.click(LoadList, offset=(5, 2))
        await pilot.pause()
        assert "generation 1 was ready" in said(page, "#loads-facts")


async def test_why_there_is_no_diff_is_said() -> None:
    engine = FakeEngine()
    histories.idle(engine)
    engine.results = [cmd.CommandResult(False, "generation 1 was the first")]
    async with page_over(engine) as (_, page, _):
        assert said(page, "#loads-text Static") == "generation 1 was the first"


async def test_a_load_that_happens_while_you_look_appears() -> None:
    engine = FakeEngine()
    histories.idle(engine)
    async with page_over(engine) as (app, page, pilot):

        async def happens(event: ev.Event) -> str:
            engine.publish(event)
            await painted(app, engine, pilot)
            return said(page, "#loads-facts")

        assert "generation 2 is loading" in await happens(ev.GenerationLoading(2, "/v/agent.py"))
        assert cmd.DiffGeneration(2) not in engine.commands
        assert "generation 2 serves" in await happens(ready(2, cause="/v/agent.py"))
        await until(lambda: engine.commands[-1] == cmd.DiffGeneration(2))
        await pilot.press("down")
        assert "generation 1 was ready" in await happens(ready(3, cause="/v/agent.py"))
        assert "●   3" in said(page, "#loads-list Static")
        assert engine.commands[-1] != cmd.DiffGeneration(3)


async def test_a_roll_back_is_confirmed_first_and_then_seen() -> None:
    engine = FakeEngine()
    histories.stale(engine)
    async with page_over(engine) as (app, page, pilot):
        await pilot.press("down", "down", "b")
        await pilot.pause()
        assert isinstance(app.screen, Confirm)
        await pilot.press("enter")  # is a no
        await pilot.pause()
        assert app.screen_stack[-1] is page
        assert cmd.RollBack(1) not in engine.commands
        await pilot.press("b")
        await pilot.pause()
        await pilot.press("y")
        await until(lambda: cmd.RollBack(1) in engine.commands)
        engine.publish(ready(4, cause="roll back to 1", rolled_back_to=1))
        await painted(app, engine, pilot)
        assert "generation 4 serves" in said(page, "#loads-facts")
        assert "rolled back to 1: the next save or r" in str(page.query_one("#loads-box").border_title)


@pytest.mark.parametrize(("presses", "why"), [(0, "did load"), (1, "generation 2 is the one that serves")])
async def test_what_cannot_be_rolled_back_to_is_not_asked_about(presses: int, why: str) -> None:
    engine = FakeEngine()
    histories.stale(engine)
    async with page_over(engine) as (app, page, pilot):
        await pilot.press(*["down"] * presses, "b")
        await pilot.pause()
        assert app.screen is page
        assert any(why in each.message for each in app._notifications)


async def test_r_reloads_and_what_went_wrong_is_told() -> None:
    engine = FakeEngine()
    histories.idle(engine)
    async with page_over(engine) as (app, _, pilot):
        engine.results = [cmd.CommandResult(False, "the [file] does not load")]
        await pilot.press("r")
        await until(lambda: app._notifications)
        assert engine.commands[-1] == cmd.Reload()
        assert [each.message for each in app._notifications] == ["the [file] does not load"]


async def test_c_compares_with_what_serves_and_back() -> None:
    engine = FakeEngine()
    histories.stale(engine)
    async with page_over(engine) as (_, page, pilot):
        for number, key in enumerate(("down", "down", "c"), 2):
            await pilot.press(key)
            await asked(engine, number)
        assert engine.commands[-1] == cmd.DiffGeneration(1, 2)
        await pilot.press("up")  # that one serves: it is compared with the one before it
        await pilot.pause()
        assert "generation 2 serves" in said(page, "#loads-facts")
        await pilot.press("down", "c")
        await pilot.pause()
        diffs = [each for each in engine.commands if isinstance(each, cmd.DiffGeneration)]
        assert [(each.number, each.against) for each in diffs] == [(3, None), (2, None), (1, None), (1, 2)]


@pytest.mark.parametrize(
    ("presses", "place"),
    [
        (0, ("/home/ann/voice/tools/search.py", 7)),  # what failed
        (1, ("/home/ann/voice/agent.py", 9)),  # the first change
        (2, ("/home/ann/voice/agent.py", 1)),
    ],
)
async def test_e_opens_what_failed_or_was_changed_first(
    presses: int, place: tuple[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[tuple[str, int]] = []

    def open_in_editor(_: object, file: Path, line: int) -> None:
        opened.append((str(file), line))

    monkeypatch.setattr("agent_tui.tui.doing.agent.open_in_editor", open_in_editor)
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
    engine = FakeEngine()
    histories.idle(engine)
    async with page_over(engine) as (app, _, pilot):
        await pilot.press("e")
        await pilot.pause()
        assert any("set EDITOR" in each.message for each in app._notifications)


async def test_the_text_scrolls_by_pages_while_the_list_has_the_keys() -> None:
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
async def test_hostile_names_causes_and_diffs_are_only_text(size: tuple[int, int]) -> None:
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
            for part in ("#loads-list Static", "#loads-facts", "#loads-text Static"):
                assert not set("\x1b\u202e\r\x07") & set(said(page, part))
            await pilot.press("down")
            await pilot.pause()
        assert app._exception is None
    assert "[bold]x[/]" in text(fact_lines(entries(engine.bus.state)[1], engine.bus.state, 0.0))
