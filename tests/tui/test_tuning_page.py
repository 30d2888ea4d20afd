"""Loads and sweeps on the screen, over an engine that plays the pool: forms, figures, the end, the advice."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from textual.pilot import Pilot
from textual.widgets import Button, Static

from agent_tui.model import commands as cmd
from agent_tui.model.errors import UserError
from agent_tui.tui.app import AgentTuiApp
from agent_tui.tui.screens.confirm import Confirm
from agent_tui.tui.screens.remote_guard import RemoteGuard
from agent_tui.tui.screens.tuning import TuningPage
from agent_tui.tui.screens.tuning_forms import (
    FIRST_LOAD,
    FIRST_SWEEP,
    LoadForm,
    SweepForm,
    SweepWish,
    counts_text,
)
from agent_tui.tui.tuner import LEAVING, Tuner
from agent_tui.tui.widgets.header import tuning_parts
from agent_tui.tui.widgets.options_panel import OptionsPanel
from agent_tui.tuning.grammar import parse_counts, parse_target
from agent_tui.tuning.loads import Load, Pattern
from agent_tui.tuning.store import earlier, folder
from agent_tui.tuning.sweep import OPTION, SweepPlan, SweepTimings
from tests.fakes.scripted_child import until
from tests.tui import histories
from tests.tui.page_host import PageHost, page_host
from tests.tui.test_modals import UNANSWERED, Host, answer
from tests.tuning.test_sweep import PoolEngine

BURST = Load(4, pattern=Pattern.BURST)
ENDLESS = Load(1000, 0.001, Pattern.STEADY)
QUICK = SweepTimings(settle_s=5.0, quiet_s=0.0, read_s=5.0, tail_s=5.0)
TARGET = parse_target("p95<50ms")


def tuner_of(engine: PoolEngine, state: Path) -> Tuner:
    return Tuner(engine.clock, {"XDG_STATE_HOME": str(state)}, QUICK)


async def finished(tuner: Tuner) -> None:
    await until(lambda: tuner.current is None, 20.0)


# -- the tuner, without a screen ---------------------------------------------------------------------------


async def test_a_sweep_is_advised_on_kept_and_compared_with_the_one_before(tmp_path: Path) -> None:
    engine, told = PoolEngine(), list[str]()
    tuner = tuner_of(engine, tmp_path)
    tuner.ended = told.append
    plan = SweepPlan(BURST, (0, 4))
    tuner.start_sweep(engine, plan, TARGET)
    assert tuner.summary == "sweep 0/2"
    await finished(tuner)
    assert told == ["the sweep is over"]
    assert tuner.summary == ""
    assert tuner.advice is not None
    assert tuner.advice.count == 4
    assert tuner.sweep is not None
    assert tuner.sweep.view.before is None
    engine.clock.advance(60)
    tuner.start_sweep(engine, plan, TARGET)
    await finished(tuner)
    view = tuner.sweep.view
    assert view.before is not None
    assert view.kept.startswith("kept in ")
    assert len(earlier(folder(tuner.environ, view.result.agent))) == 2


async def test_one_load_at_a_time(tmp_path: Path) -> None:
    engine = PoolEngine()
    tuner = tuner_of(engine, tmp_path)
    tuner.start_load(engine, ENDLESS)
    with pytest.raises(UserError, match="load 0/1000 is still under way"):
        tuner.start_sweep(engine, SweepPlan(BURST, (0,)), TARGET)
    await tuner.close()
    assert tuner.load is not None
    assert tuner.load.view.ended == LEAVING


async def test_a_load_counts_its_jobs_and_sees_the_count_change(tmp_path: Path) -> None:
    engine = PoolEngine()
    tuner = tuner_of(engine, tmp_path)
    tuner.start_load(engine, ENDLESS)
    assert tuner.load is not None
    load = tuner.load
    await until(lambda: len(load.view.measure.jobs) == 1)
    await engine.send(cmd.SetOptions({OPTION: "3"}))
    await until(lambda: [count for _, count in load.view.counts] == [1, 3])
    assert load.view.running
    tuner.stop("enough")
    await finished(tuner)
    assert (load.view.ended, load.view.measure.complete) == ("enough", False)
    assert load.view.measure.jobs[0].warm


async def test_a_load_that_the_guard_refuses_ends_with_its_reason(tmp_path: Path) -> None:
    engine = PoolEngine()
    engine.results = [cmd.CommandResult(False, "needs its name", refused=True)]
    tuner = tuner_of(engine, tmp_path)
    tuner.start_load(engine, Load(3, 50.0, Pattern.STEADY))
    await finished(tuner)
    assert tuner.load is not None
    assert tuner.load.view.ended == "needs its name"
    assert engine.dispatches == 0


async def test_a_sweep_that_could_not_begin_says_why(tmp_path: Path) -> None:
    engine = PoolEngine()
    engine.lose = lambda _: "no worker"
    tuner = tuner_of(engine, tmp_path)
    tuner.start_sweep(engine, SweepPlan(BURST, (0,)), TARGET)
    await finished(tuner)
    assert tuner.sweep is not None
    assert tuner.sweep.view.trouble == "the first job was lost: no worker"
    assert not (tmp_path / "agent-tui").exists()


async def test_what_cannot_be_kept_is_told(tmp_path: Path) -> None:
    (tmp_path / "agent-tui").write_text("in the way")
    engine = PoolEngine()
    tuner = tuner_of(engine, tmp_path)
    tuner.start_sweep(engine, SweepPlan(BURST, (4,)), TARGET)
    await finished(tuner)
    assert tuner.sweep is not None
    assert tuner.sweep.view.kept.startswith("not kept: ")


# -- forms -------------------------------------------------------------------------------------------------


async def test_the_forms_begin_with_the_last_values() -> None:
    ramp = Load(7, 1.0, Pattern.RAMP, 5.0, 0.5, 3)
    wish = SweepWish(SweepPlan(ramp, (0, 2, 3, 4), 2), parse_target("warm>99%"))
    assert await answer(LoadForm(FIRST_LOAD), "enter") == FIRST_LOAD
    assert await answer(LoadForm(ramp), "enter") == ramp
    assert await answer(SweepForm(FIRST_SWEEP), "enter") == FIRST_SWEEP
    assert await answer(SweepForm(wish), "enter") == wish


@pytest.mark.parametrize("text", ["0-4", "0,1,2,4", "3", "0,1", "0-2,7,9-12"])
def test_counts_are_written_as_they_are_read(text: str) -> None:
    assert parse_counts(counts_text(parse_counts(text))) == parse_counts(text)


@pytest.mark.parametrize(
    ("keys", "field"),
    [
        (["0"], "jobs"),
        (["tab", "right", "right", "right"], "rate"),  # a ramp of one rate
        (["tab", "right", "tab", *"1-5/s"], "rate"),  # two rates that are no ramp's
        (["tab", "tab", "tab", "x"], "length"),
        (["tab", "tab", "tab", "tab", "x"], "seed"),
    ],
)
async def test_bad_input_is_told_in_one_line_at_its_field(keys: list[str], field: str) -> None:
    app = Host(LoadForm(FIRST_LOAD))  # type: ignore[arg-type]
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press(*keys, "enter")
        await pilot.pause()
        assert app.answer == UNANSWERED
        notes = {str(note.id): note for note in app.screen.query(".form-note").results(Static)}
        wrong = [name for name, note in notes.items() if note.has_class("-wrong")]
        assert wrong == [f"form-{field}-note"]
        assert notes[wrong[0]].size.height == 1
        assert app.screen.query_one("#form-go", Button).disabled


async def test_a_bad_sweep_is_not_begun() -> None:
    assert await answer(SweepForm(FIRST_SWEEP), "x", "enter") == UNANSWERED
    assert await answer(SweepForm(FIRST_SWEEP), "tab", "x", "enter") == UNANSWERED
    assert await answer(SweepForm(FIRST_SWEEP), "escape") is None


# -- the page ----------------------------------------------------------------------------------------------


@asynccontextmanager
async def screen(
    engine: PoolEngine, tuner: Tuner, kind: type[AgentTuiApp] = PageHost
) -> AsyncIterator[tuple[AgentTuiApp, Pilot[int]]]:
    async with page_host(engine, kind=kind, tuner=tuner) as (app, pilot):
        yield app, pilot


def page_of(app: AgentTuiApp) -> TuningPage:
    page = app.screen
    assert isinstance(page, TuningPage)
    return page


def said(app: AgentTuiApp) -> str:
    lines = page_of(app).lines(116, 40)
    return "\n".join("".join(span.text for span in line) for line in lines)


def pool(server: object = histories.EMBEDDED) -> PoolEngine:
    engine = PoolEngine()
    engine.publish(server)  # type: ignore[arg-type]
    return engine


async def test_a_burst_opens_the_page_and_its_figures_stay(tmp_path: Path) -> None:
    engine = pool()
    tuner = tuner_of(engine, tmp_path)
    async with screen(engine, tuner) as (app, pilot):
        await pilot.press("b")
        await until(lambda: isinstance(app.screen, LoadForm))
        await pilot.press("4", "enter")
        await until(lambda: isinstance(app.screen, TuningPage))
        await finished(tuner)
        assert "✓ over 4/4 dispatched" in said(app)
        assert "25%" in said(app)  # one process was idle
        await pilot.press("plus")
        await until(lambda: engine.resolution.options.num_idle_processes == 2)
        await pilot.press("escape")
        await until(lambda: len(app.screen_stack) == 1)
        await pilot.press("T")
        await until(lambda: isinstance(app.screen, TuningPage))
        assert "✓ over 4/4 dispatched" in said(app)


async def test_a_sweep_gives_advice_that_one_key_applies(tmp_path: Path) -> None:
    engine = pool()
    tuner = tuner_of(engine, tmp_path)
    async with screen(engine, tuner) as (app, pilot):
        app.doing.tuning.last_sweep = SweepWish(SweepPlan(BURST, (0, 1, 4)), TARGET)
        await pilot.press("a")
        await pilot.pause()
        assert any("no sweep has advised" in each.message for each in app._notifications)
        await pilot.press("w")
        await until(lambda: isinstance(app.screen, SweepForm))
        await pilot.press("enter")
        await until(lambda: isinstance(app.screen, TuningPage))
        await finished(tuner)
        assert "★ advice: 4 idle for p95<50ms" in said(app)
        assert "4 idle: 4 jobs" in said(app)
        await pilot.press("up", "up")
        assert "0 idle: 4 jobs" in said(app)
        assert engine.resolution.options.num_idle_processes == 1
        await pilot.press("a")
        await until(lambda: engine.resolution.options.num_idle_processes == 4)
        page_of(app).paint()
        await pilot.pause()
        picture = app.export_screenshot()
        assert "numIdleProcesses" in picture


async def test_closing_ends_nothing_and_escape_asks(tmp_path: Path) -> None:
    engine = pool()
    tuner = tuner_of(engine, tmp_path)
    async with screen(engine, tuner, AgentTuiApp) as (app, pilot):
        tuner.start_sweep(engine, SweepPlan(ENDLESS, (1, 2)), TARGET)
        await until(lambda: engine.dispatches >= 2)
        await pilot.press("T")
        await until(lambda: isinstance(app.screen, TuningPage))
        await pilot.press("plus")  # it would be the sweep's to set
        await until(lambda: any("until it is over" in each.message for each in app._notifications))
        await pilot.press("q")
        await until(lambda: len(app.screen_stack) == 1)
        assert tuner.sweeping
        app.show()
        await pilot.pause()
        assert "sweep" in app.export_screenshot()
        await pilot.press("T")
        await until(lambda: isinstance(app.screen, TuningPage))
        await pilot.press("escape")
        await until(lambda: isinstance(app.screen, Confirm))
        await pilot.press("n")
        await until(lambda: isinstance(app.screen, TuningPage))
        assert tuner.sweeping
        await pilot.press("escape")
        await until(lambda: isinstance(app.screen, Confirm))
        await pilot.press("y")
        await finished(tuner)
        assert "ended early: cancelled" in said(app)
        assert tuner.sweep is not None
        assert len(tuner.sweep.view.result.runs) == 1
        assert engine.counts_set == ["1", None]


async def test_a_remote_server_has_to_be_named_before_a_load(tmp_path: Path) -> None:
    engine = pool(histories.REMOTE)
    tuner = tuner_of(engine, tmp_path)
    async with screen(engine, tuner) as (app, pilot):
        await pilot.press("b")
        await until(lambda: isinstance(app.screen, LoadForm))
        await pilot.press("enter")
        await until(lambda: isinstance(app.screen, RemoteGuard))
        await pilot.press("escape")
        await until(lambda: len(app.screen_stack) == 1)
        assert tuner.load is None
        await pilot.press("b")
        await until(lambda: isinstance(app.screen, LoadForm))
        await pilot.press("enter")
        await until(lambda: isinstance(app.screen, RemoteGuard))
        await pilot.press(*"my.livekit.cloud", "enter")
        await until(lambda: isinstance(app.screen, TuningPage))
        await finished(tuner)
        hosts = {each.confirmed_host for each in engine.commands if isinstance(each, cmd.Dispatch)}
        assert hosts == {"my.livekit.cloud"}


async def test_leaving_ends_a_sweep_and_keeps_what_was_measured(tmp_path: Path) -> None:
    engine = pool()
    tuner = tuner_of(engine, tmp_path)
    plan = SweepPlan(ENDLESS, (1,))
    async with screen(engine, tuner):
        tuner.start_sweep(engine, plan, TARGET)
        await until(lambda: engine.dispatches >= 2)
    assert tuner.current is None
    assert tuner.sweep is not None
    assert tuner.sweep.view.kept.startswith("kept in ")


async def test_the_options_panel_shows_what_a_sweep_sets(tmp_path: Path) -> None:
    engine = pool()
    tuner = tuner_of(engine, tmp_path)
    async with screen(engine, tuner, AgentTuiApp) as (app, _):
        tuner.start_sweep(engine, SweepPlan(ENDLESS, (3,)), TARGET)
        await until(lambda: engine.dispatches >= 2)
        await until(lambda: app.state.settings is engine.state.settings)  # painted
        shown = app.query_one(OptionsPanel)._resolution
        assert shown is not None
        assert shown.options.num_idle_processes == 3


def test_the_header_says_what_is_under_way() -> None:
    assert tuning_parts("") == ()
    ((_, line),) = tuning_parts("sweep 3/10")[0].variants
    assert "sweep 3/10" in line[0].text
