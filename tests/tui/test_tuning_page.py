"""Test loads and sweeps on the screen: forms, results, and advice."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from msgspec.structs import replace
from textual.content import Content
from textual.pilot import Pilot
from textual.widgets import Button, Static

from agent_tui.model import commands as cmd
from agent_tui.model import events as ev
from agent_tui.model.tuning import (
    Advice,
    Pattern,
    Phase,
    Progress,
    RunMeasure,
    SweepOutcome,
    SweepPlan,
    SweepResult,
    SweepView,
    TestLoad,
    TestLoadView,
)
from agent_tui.tui.app import AgentTuiApp
from agent_tui.tui.screens.confirm import Confirm
from agent_tui.tui.screens.remote_guard import RemoteGuard
from agent_tui.tui.screens.tuning import TuningPage
from agent_tui.tui.screens.tuning_forms import (
    FIRST_SWEEP,
    FIRST_TEST_LOAD,
    SweepForm,
    SweepRequest,
    TestLoadForm,
    counts_text,
    plan_lines,
)
from agent_tui.tui.widgets.advice_rows import advice_lines
from agent_tui.tui.widgets.header import tuning_parts
from agent_tui.tui.widgets.key_bar import KeyBar
from agent_tui.tui.widgets.options_panel import OptionsPanel
from agent_tui.tui.widgets.text import Line
from agent_tui.tuning.grammar import parse_counts, parse_target
from agent_tui.tuning.sweep import OPTION
from tests.fakes.engine import FakeEngine
from tests.fakes.remote_engine import RemoteEngine
from tests.fakes.scripted_child import until
from tests.tui import histories
from tests.tui.page_host import PageHost, page_host, painted
from tests.tui.test_modals import UNANSWERED, Host, answer
from tests.tuning.support import sweep_of
from tests.tuning.test_tuner import tuned

BURST = TestLoad(4, pattern=Pattern.BURST)
ENDLESS = TestLoad(1000, 0.001, Pattern.STEADY)
TARGET = parse_target("p95<50ms")


# -- forms -------------------------------------------------------------------------------------------------


async def test_the_forms_open_with_the_last_values() -> None:
    ramp = TestLoad(7, 1.0, Pattern.RAMP, 5.0, 0.5, 3)
    wish = SweepRequest(SweepPlan(ramp, (0, 2, 3, 4), 2), parse_target("warm>99%"))
    assert await answer(TestLoadForm(FIRST_TEST_LOAD), "enter") == FIRST_TEST_LOAD
    assert await answer(TestLoadForm(ramp), "enter") == ramp
    assert await answer(SweepForm(FIRST_SWEEP), "enter") == FIRST_SWEEP
    assert await answer(SweepForm(wish), "enter") == wish


@pytest.mark.parametrize("text", ["0-4", "0,1,2,4", "3", "0,1", "0-2,7,9-12"])
def test_counts_survive_a_round_trip(text: str) -> None:
    assert parse_counts(counts_text(parse_counts(text))) == parse_counts(text)


@pytest.mark.parametrize(
    ("keys", "field"),
    [
        (["0"], "jobs"),
        (["tab", "right", "right", "right"], "rate"),  # a ramp with one rate
        (["tab", "right", "tab", *"1-5/s"], "rate"),  # two rates without a ramp
        (["tab", "tab", "tab", "x"], "length"),
        (["tab", "tab", "tab", "tab", "x"], "seed"),
    ],
)
async def test_bad_input_is_reported_below_its_field(keys: list[str], field: str) -> None:
    app = Host(TestLoadForm(FIRST_TEST_LOAD))  # type: ignore[arg-type]
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.press(*keys, "enter")
        await pilot.pause()
        assert app.answer == UNANSWERED
        notes = {str(note.id): note for note in app.screen.query(".form-note").results(Static)}
        wrong = [name for name, note in notes.items() if note.has_class("-wrong")]
        assert wrong == [f"form-{field}-note"]
        assert notes[wrong[0]].size.height == 1
        assert app.screen.query_one("#form-go", Button).disabled


async def test_a_bad_sweep_is_not_started() -> None:
    assert await answer(SweepForm(FIRST_SWEEP), "x", "enter") == UNANSWERED
    assert await answer(SweepForm(FIRST_SWEEP), "tab", "x", "enter") == UNANSWERED
    assert await answer(SweepForm(FIRST_SWEEP), "escape") is None


def plain(lines: tuple[Line, ...]) -> list[str]:
    return ["".join(span.text for span in line) for line in lines]


def test_a_sweep_says_first_what_it_will_do_and_how_long_that_takes() -> None:
    plan = SweepPlan(TestLoad(50, 2.0, job_length_s=5.0), (0, 1, 2), 2)
    said = plain(plan_lines(plan, 0))
    assert said[0].endswith("3 idle counts × 2 × about 31 s, after an uncounted job")
    assert said[0].startswith("about 3 min 6 s:")
    assert not any("▲" in line for line in said)
    assert plain(plan_lines(plan, 1))[1].startswith("▲ 1 call runs now: the first run waits for it")
    assert all(len(line) <= 74 for line in plain(plan_lines(plan, 12))), "fits in 80 columns"


async def test_the_sweep_form_warns_while_calls_are_running() -> None:
    engine = fake()
    async with page_host(engine, size=(80, 24)) as (app, pilot):
        await pilot.press("w")
        await until(lambda: isinstance(app.screen, SweepForm))
        about = app.screen.query_one("#form-about", Static)
        assert "5 idle counts × about" in str(about.render())
        assert "▲" not in str(about.render())
        engine.publish(ev.OfferReceived("AJ_1", "demo-1", "", 1, 1), ev.OfferAnswered("AJ_1", accepted=True))
        await until(lambda: "▲ 1 call runs now" in str(about.render()))
        await pilot.pause()
        assert about.size.height == 2
        assert app.screen.query_one("#form-go").region.bottom < 24
        await pilot.press("x")
        await until(lambda: not about.display)


# -- the page ----------------------------------------------------------------------------------------------


LOAD = TestLoadView(
    RunMeasure(1, 0, BURST, arrivals_s=(0.0,) * 3), ((0.0, 1),), 0.5, running=True, started=10.0
)
RESULT = sweep_of(TestLoad(4, 2.0), counts=(0, 1, 4))
PLAN = SweepPlan(RESULT.load, RESULT.counts)
ADVICE = Advice(TARGET, 4, (), ("advice: 4 idle for p95<50ms",))
SWEEP = SweepView(PLAN, TARGET, Progress(Phase.RUNNING, 3, 4, 1, count=1, jobs=2), replace(RESULT, runs=()))


@asynccontextmanager
async def screen(
    engine: FakeEngine, *keys: str, kind: type[AgentTuiApp] = PageHost
) -> AsyncIterator[tuple[AgentTuiApp, Pilot[int]]]:
    async with page_host(engine, *keys, kind=kind) as (app, pilot):
        yield app, pilot


@pytest.mark.parametrize(
    ("result", "when"),
    [(replace(RESULT, runs=()), "a run had finished"), (RESULT, "advice was computed")],
)
def test_a_sweep_without_advice_says_why(result: SweepResult, when: str) -> None:
    view = replace(SWEEP, result=result, outcome=SweepOutcome("ended by the user"))
    said = plain(advice_lines(view, 1, 76))
    assert said == ["", f"▲ no advice: the sweep ended before {when} · w starts another"]
    failed = replace(view, outcome=SweepOutcome(error="no server"))
    assert advice_lines(failed, 1, 76) == ()


def page_of(app: AgentTuiApp) -> TuningPage:
    page = app.screen
    assert isinstance(page, TuningPage)
    return page


def said(app: AgentTuiApp) -> str:
    lines = page_of(app).lines(116, 40)
    return "\n".join("".join(span.text for span in line) for line in lines)


def fake(server: ev.Event = histories.EMBEDDED) -> FakeEngine:
    engine = FakeEngine(numIdleProcesses="1")
    engine.publish(histories.READY, server)
    return engine


def measured(engine: FakeEngine) -> None:
    """Publish a whole sweep."""
    engine.publish(ev.SweepStarted(SWEEP))
    for run in RESULT.runs:
        engine.publish(ev.SweepProgressed(replace(SWEEP.progress, finished=run)))
    engine.publish(ev.SweepEnded(SweepOutcome(advice=ADVICE)))


async def test_the_form_starts_a_load_and_the_page_shows_it_until_the_next_one_starts() -> None:
    engine = fake()
    async with screen(engine) as (app, pilot):
        await pilot.press("b")
        await until(lambda: isinstance(app.screen, TestLoadForm))
        await pilot.press("4", "enter")
        await until(lambda: isinstance(app.screen, TuningPage))
        assert engine.commands == [cmd.StartTestLoad(replace(FIRST_TEST_LOAD, jobs=4))]
        engine.publish(ev.TestLoadChanged(LOAD))
        await until(lambda: "3/4 dispatched" in said(app))
        engine.publish(ev.TestLoadChanged(replace(LOAD, running=False)))
        await until(lambda: "✓ done  3/4 dispatched" in said(app))
        await pilot.press("plus")
        await until(lambda: engine.resolution.options.num_idle_processes == 2)
        engine.publish(ev.SweepStarted(SWEEP))
        await until(lambda: "0/3 runs" in said(app))
        await pilot.press("tab")
        assert "✓ done  3/4 dispatched" in said(app)


async def test_the_page_opens_with_what_is_running() -> None:
    engine = fake()
    measured(engine)
    engine.publish(ev.TestLoadChanged(LOAD))
    async with screen(engine, "T") as (app, pilot):
        assert "3/4 dispatched" in said(app)
        await pilot.press("q")
        await until(lambda: len(app.screen_stack) == 1)
        engine.publish(ev.TestLoadChanged(replace(LOAD, running=False)))
        await painted(app, engine, pilot)
        await pilot.press("T")
        await until(lambda: isinstance(app.screen, TuningPage))
        assert "★ advice" in said(app)


async def test_a_sweep_gives_advice_that_one_key_applies() -> None:
    engine = fake()
    async with screen(engine) as (app, pilot):
        app.action_handlers.tuning.last_sweep = SweepRequest(PLAN, TARGET)
        await pilot.press("a")
        await pilot.pause()
        assert any("no advice yet" in each.text for each in app.notices)
        await pilot.press("w")
        await until(lambda: isinstance(app.screen, SweepForm))
        await pilot.press("enter")
        await until(lambda: isinstance(app.screen, TuningPage))
        assert engine.commands == [cmd.StartSweep(PLAN, TARGET)]
        measured(engine)
        await until(lambda: "★ advice: 4 idle for p95<50ms" in said(app))
        assert "4 idle: 4 jobs" in said(app)
        await pilot.press("up", "up")
        assert "0 idle: 4 jobs" in said(app)
        await pilot.press("a")
        await until(lambda: engine.resolution.options.num_idle_processes == 4)
        await until(lambda: "✓ applied" in said(app))
        assert "numIdleProcesses" in app.export_screenshot()


async def test_a_click_selects_a_count_as_the_arrows_do() -> None:
    engine = fake()
    measured(engine)
    async with screen(engine, "T") as (app, pilot):
        await until(lambda: "4 idle: 4 jobs" in said(app))
        rows = said(app).split("\n")
        row = next(at for at, line in enumerate(rows) if line.split()[:1] == ["1"])
        await pilot.click("#tuning-lines", offset=(8, row))
        assert "1 idle: 4 jobs" in said(app)
        await pilot.press("up")
        assert "0 idle: 4 jobs" in said(app)
        await pilot.click("#tuning-lines", offset=(8, 0))
        assert "0 idle: 4 jobs" in said(app), "no row was clicked"


def offered(app: AgentTuiApp) -> str:
    """Return the keys that the footer offers."""
    shown = app.screen.query_one(KeyBar).content
    assert isinstance(shown, Content)
    return shown.plain


async def test_without_advice_no_key_to_apply_it_is_offered_and_it_says_why() -> None:
    engine = fake()
    engine.publish(ev.SweepStarted(SWEEP))
    async with screen(engine, "T") as (app, pilot):
        await until(lambda: "x End" in offered(app))
        await pilot.press("a")
        await until(lambda: app.notices[-1].text == "no advice yet: the sweep is running")
        for run in RESULT.runs:
            engine.publish(ev.SweepProgressed(replace(SWEEP.progress, finished=run)))
        none = replace(ADVICE, count=None, lines=("no measured count meets p95<50ms: the best is 4 idle",))
        engine.publish(ev.SweepEnded(SweepOutcome(advice=none)))
        await until(lambda: "x End" not in offered(app))
        assert "a Apply" not in offered(app)
        await pilot.press("a")
        await until(lambda: app.notices[-1].text.startswith("nothing to apply: no measured count meets"))
        measured(engine)
        await until(lambda: "a Apply" in offered(app))


async def test_closing_the_page_ends_nothing_and_x_asks() -> None:
    engine = fake()
    engine.publish(ev.SweepStarted(SWEEP))
    async with screen(engine, "T") as (app, pilot):
        await pilot.press("plus")  # the sweep sets it
        await until(lambda: any("when the sweep is done" in each.text for each in app.notices))
        await pilot.press("escape")
        await until(lambda: len(app.screen_stack) == 1)
        await until(lambda: app.notices[-1].text == "sweep 1/3 continues · T shows it")
        await pilot.press("w")
        busy = "sweep 1/3 is still running: T shows it, and x there ends it"
        await until(lambda: any(each.text == busy for each in app.notices))
        await pilot.press("T")
        await until(lambda: isinstance(app.screen, TuningPage))
        await pilot.press("x")
        await until(lambda: isinstance(app.screen, Confirm))
        await pilot.press("n")
        await until(lambda: isinstance(app.screen, TuningPage))
        assert engine.commands == []
        await pilot.press("x")
        await until(lambda: isinstance(app.screen, Confirm))
        await pilot.press("y")
        await until(lambda: engine.commands == [cmd.StopTuning("cancelled")])
        engine.publish(ev.SweepEnded(SweepOutcome("cancelled")))
        await until(lambda: "ended early: cancelled" in said(app))
        await pilot.press("x")
        assert app.notices[-1].text == "nothing is running"


async def test_a_refusal_of_the_engine_is_shown() -> None:
    engine = fake()
    engine.refuse = "sweep 0/5 is still running"
    async with screen(engine) as (app, pilot):
        await pilot.press("b")
        await until(lambda: isinstance(app.screen, TestLoadForm))
        await pilot.press("enter")
        await until(lambda: any("still running" in each.text for each in app.notices))
        assert len(app.screen_stack) == 1


async def test_a_load_on_a_remote_server_is_asked_about() -> None:
    engine = fake(histories.REMOTE)
    async with screen(engine) as (app, pilot):
        await pilot.press("b")
        await until(lambda: isinstance(app.screen, TestLoadForm))
        await pilot.press("enter")
        await until(lambda: isinstance(app.screen, RemoteGuard))
        await pilot.press("escape")
        await until(lambda: len(app.screen_stack) == 1)
        assert engine.commands == []
        await pilot.press("b")
        await until(lambda: isinstance(app.screen, TestLoadForm))
        await pilot.press("enter")
        await until(lambda: isinstance(app.screen, RemoteGuard))
        await pilot.press("y")
        await until(lambda: isinstance(app.screen, TuningPage))
        assert engine.commands == [cmd.StartTestLoad(FIRST_TEST_LOAD, "my.livekit.cloud")]


async def test_the_dashboard_shows_a_running_load_and_notifies_at_its_end() -> None:
    engine = fake()
    engine.publish(ev.SweepStarted(SWEEP))
    async with screen(engine, kind=AgentTuiApp) as (app, pilot):
        assert "sweep" in app.export_screenshot()
        engine.settings = engine.settings.measured_with({OPTION: "3"})
        await painted(app, engine, pilot)
        shown = app.query_one(OptionsPanel)._resolution
        assert shown is not None
        assert shown.options.num_idle_processes == 3
        engine.publish(ev.SweepEnded(SweepOutcome()))
        await until(lambda: any(each.text == "sweep finished · T show results" for each in app.notices))


def test_the_header_shows_the_running_load_or_sweep() -> None:
    assert tuning_parts("") == ()
    ((_, line),) = tuning_parts("sweep 3/10")[0].variants
    assert "sweep 3/10" in line[0].text


# -- with a tuner beside the engine ------------------------------------------------------------------------


async def test_a_sweep_from_the_form_to_its_advice_with_the_engine_in_another_process(tmp_path: Path) -> None:
    engine = tuned(tmp_path)
    engine.publish(histories.EMBEDDED)

    async def make() -> RemoteEngine:
        return RemoteEngine(engine)

    app = PageHost(make, now=engine.clock.time)
    async with app.run_test(size=(120, 40)) as pilot:
        await until(lambda: app.state == engine.state)
        app.action_handlers.tuning.last_sweep = SweepRequest(SweepPlan(BURST, (0, 4)), TARGET)
        await pilot.press("w")
        await until(lambda: isinstance(app.screen, SweepForm))
        await pilot.press("enter")
        await until(lambda: isinstance(app.screen, TuningPage) and "★ set numIdleProcesses to 4" in said(app))
        assert app.state == engine.state
        app.action_handlers.tuning.last_load = ENDLESS
        await pilot.press("b")
        await until(lambda: isinstance(app.screen, TestLoadForm))
        await pilot.press("enter")
        await until(lambda: isinstance(app.screen, TuningPage) and "1/1000 dispatched" in said(app))
        await pilot.press("x")
        await until(lambda: isinstance(app.screen, Confirm))
        await pilot.press("y")
        await until(lambda: "■ ended early  1/1000 dispatched" in said(app))
    engine.bus.close()
    await app.ended()


async def test_a_state_may_come_while_the_page_closes() -> None:
    engine = fake()
    async with screen(engine) as (app, pilot):
        await pilot.press("T")
        await until(lambda: isinstance(app.screen, TuningPage))
        page = app.screen
        assert isinstance(page, TuningPage)
        await page.query("#tuning-box").remove()
        page.show(app.state, 0.0)
