"""The two header lines, as text and as a widget."""

import dataclasses
import math

import pytest
from msgspec.structs import replace
from rich.cells import cell_len
from textual.app import App, ComposeResult

from agent_tui.model import events as ev
from agent_tui.model.state import RegistrationState, WorkerView
from agent_tui.tui.app import AgentTuiApp
from agent_tui.tui.widgets.header import (
    Header,
    LoadHistory,
    PageHeader,
    bars,
    figures,
    left_parts,
    notices,
    right_parts,
    second_line,
)
from agent_tui.tui.widgets.text import Part, Span, fit, joined, part, width_of
from tests.fakes.engine import FakeEngine
from tests.fakes.scripted_child import until
from tests.tui import histories
from tests.tui.hostile import HOSTILE
from tests.tui.page_host import page_host, painted


def text(parts: tuple[Part, ...], width: int = 400) -> str:
    return "".join(span.text for span in joined(fit(parts, width, " · "), " · "))


def shown(engine: FakeEngine, width: int = 400) -> tuple[str, str, str]:
    state, now = engine.bus.state, engine.clock.time()
    options = engine.resolution.options
    second = second_line(figures(state, now, options, ()), notices(state, options), width)
    return (
        text(left_parts(state), width).rstrip(),
        text(right_parts(state, now), width),
        "".join(span.text for span in second),
    )


def test_the_first_line_of_the_header() -> None:
    engine = FakeEngine(numIdleProcesses="2")
    histories.idle(engine)
    engine.clock.advance(724)
    left, right, second = shown(engine)
    assert left == "agent-tui  agent.py · livekit-agents 1.8.9 · gen 1 ✓"
    assert right == "● registered AW_9xKq2L… · 12 min · ws://127.0.0.1:40123 embedded · no audio"
    assert second.split("  ")[0] == "jobs 0"
    for figure in ("idle 1/2", "cpu 12%", "mem 108 MB pss", "offer→entry p95 –", "warm hits –"):
        assert figure in second


def test_the_second_line_of_the_header() -> None:
    engine = FakeEngine()
    histories.busy(engine)
    _, _, second = shown(engine)
    assert "jobs 2" in second
    assert second.endswith("✗ 1 failed")
    assert "warm hits 33%" in second
    assert "dispatch→entry p95 33 ms" in second


def test_a_figure_that_grows_moves_no_other() -> None:
    engine = FakeEngine(loadThreshold="0.7")
    histories.busy(engine)

    def places(width: int) -> dict[str, int]:
        line = shown(engine, width)[2]
        return {name: line.find(name) for name in ("jobs", "idle", "cpu", "mem", "p95", "warm hits")}

    before = {width: places(width) for width in (78, 118, 198)}
    assert before[78]["p95"] == -1 or before[78]["warm hits"] == -1  # the least important ones are dropped
    assert -1 not in before[118].values()
    for number in range(10, 120):
        job = f"AJ_{number}"
        engine.publish(
            histories.process(f"p{number}", number, ev.ProcessState.IDLE),
            histories.process(f"q{number}", 1000 + number, ev.ProcessState.STARTING),
            ev.ProcessMeasured(f"p{number}", 300.0, 24.0, 5.0),
            ev.OfferReceived(job, "r", "", 1),
            ev.JobStarted(job, "r", f"p{number}", number, 1, True, 900.0, 990.0),
            ev.WorkerLoadMeasured(number / 120, 0.0),
        )
        assert {width: places(width) for width in before} == before, number


async def test_a_page_shows_registration_and_problems_on_a_terminal_with_enough_rows() -> None:
    engine = FakeEngine()
    histories.busy(engine)
    async with page_host(engine, "j", kind=AgentTuiApp) as (app, pilot):
        header = app.screen.query_one(PageHeader)
        await until(lambda: "● registered" in str(header.render()))
        assert "agent.py" in str(header.render())
        assert "problem" not in str(header.render())
        assert (header.region.y, header.size.height) == (0, 1)
        assert app.screen.query_one(".page-box").region.y == 1
        engine.publish(ev.GenerationFailed(2, "KeyError: 'KEY'", None, None, ""))
        await painted(app, engine, pilot)
        assert "✗ 1 problem · ● registered" in str(header.render())
        await pilot.resize_terminal(120, 24)
        await until(lambda: not header.display)
        assert app.screen.query_one(".page-box").region.y == 0


def test_the_load_of_a_load_function_is_no_cpu() -> None:
    engine = FakeEngine(loadThreshold="0.7")
    histories.idle(engine)
    assert "cpu 12/70%" in shown(engine)[2]
    view = engine.bus.state.settings
    sources = {**view.resolution.sources, "loadFunc": ("code", "agent.py:3")}
    own = dataclasses.replace(view.resolution, sources=sources)
    engine.publish(ev.SettingsChanged(replace(view, resolution=own)))
    assert "load 0.12/0.7" in shown(engine)[2]
    assert "cpu" not in shown(engine)[2]


def test_processes_over_the_memory_warning_are_counted() -> None:
    engine = FakeEngine(jobMemoryWarnMB="100")
    histories.idle(engine)
    assert "over" not in shown(engine)[2]
    engine.publish(ev.ProcessMeasured("p1", 131.4, 92.0, 108.5, used_mb=131.4))
    assert shown(engine)[2].endswith("⚠ 1 over warn")
    limited = FakeEngine(jobMemoryWarnMB="100", jobMemoryLimitMB="120")
    histories.idle(limited)
    limited.publish(ev.ProcessMeasured("p1", 131.4, 92.0, 108.5, used_mb=131.4))
    assert shown(limited)[2].endswith("⚠ 1 over limit")


def test_the_memory_total_is_of_one_measure_while_processes_change() -> None:
    engine = FakeEngine()
    histories.idle(engine)
    engine.publish(histories.process("p2", 9, ev.ProcessState.IDLE), ev.ProcessMeasured("p2", 100.0))
    assert "mem 108 MB pss" in shown(engine)[2]  # p2 has no PSS yet
    engine.publish(ev.ProcessMeasured("p2", 100.0, pss_mb=12.0))
    assert "mem 120 MB pss" in shown(engine)[2]


def test_memory_is_rss_if_no_process_has_a_pss() -> None:
    engine = FakeEngine()
    engine.publish(*(histories.process(f"p{n}", n, ev.ProcessState.IDLE) for n in (1, 2)))
    engine.publish(ev.ProcessMeasured("p1", 100.0), ev.ProcessMeasured("p2", 50.0))
    assert "mem 150 MB rss" in shown(engine)[2]


def test_a_reload_shows_both_generations() -> None:
    engine = FakeEngine()
    histories.idle(engine)
    engine.publish(ev.GenerationLoading(2, "agent.py"))
    assert "gen 1 ✓, 2 ◌ loading" in shown(engine)[0]
    engine.publish(ev.GenerationFailed(2, "SyntaxError", None, None, ""))
    assert "gen 1 ✓, 2 ✗ failed to load" in shown(engine)[0]
    engine.publish(replace(histories.READY, generation=3, seconds=0.041))
    assert "gen 3 ✓ 41 ms" in shown(engine)[0]


def test_the_header_says_that_the_code_is_rolled_back() -> None:
    engine = FakeEngine()
    histories.idle(engine)
    engine.publish(replace(histories.READY, generation=3, rolled_back_to=1))
    assert "↶ rolled back to 1 until the next save or r" in shown(engine)[0]
    assert "↶ rolled back to 1" in text(left_parts(engine.bus.state), 60)
    engine.publish(replace(histories.READY, generation=4))
    assert "rolled back" not in shown(engine)[0]


def test_failed_starts_are_shown_with_the_next_attempt_until_one_succeeds() -> None:
    engine = FakeEngine()
    histories.idle(engine)
    engine.publish(ev.StartsFailing(1, 1, "OSError: no model", 0.0, accepting=True))
    assert "gen 1 ✓" in shown(engine)[0]  # retried at once
    engine.publish(ev.StartsFailing(1, 1, "slow", 4.0, accepting=True, ended_by=ev.EndedBy.INIT_TIMEOUT))
    assert "gen 1 ✗ fails to start · slow" in shown(engine)[0]  # each attempt takes long
    engine.publish(ev.StartsFailing(1, 5, "OSError: no model", 8.0, accepting=False))
    engine.clock.advance(3)
    assert "gen 1 ✗ fails to start · OSError: no model" in shown(engine)[0]
    engine.publish(ev.GenerationLoading(2, "agent.py"))
    assert "◌ loading" in shown(engine)[0]
    engine.publish(ev.GenerationFailed(2, "SyntaxError", None, None, ""))
    engine.publish(ev.StartsRecovered())
    assert "gen 1 ✓, 2 ✗ failed to load" in shown(engine)[0]


def test_the_next_attempt_is_counted_down() -> None:
    engine = FakeEngine()
    histories.disconnected(engine)
    engine.clock.advance(1.5)
    assert "○ not registered (nothing is listening on 127.0.0.1:40123) · retrying in 3 s" in shown(engine)[1]
    engine.clock.advance(3)
    assert "trying now" in shown(engine)[1]


@pytest.mark.parametrize(
    ("event", "words"),
    [
        (ev.WorkerDisconnected("gone", None, 17), "✗ offline"),
        (ev.WorkerRefused("no"), "✗ refused"),
        (ev.ConnectionSuspect(suspect=True), "◐ server not responding"),
        (ev.Stopping("quit", 1, 60.0), "■ stopping"),
    ],
)
def test_every_registration_state_has_a_glyph_and_a_word(event: ev.Event, words: str) -> None:
    engine = FakeEngine()
    histories.idle(engine)
    engine.publish(event)
    assert words in shown(engine)[1]


def test_stopping_shows_when_the_forced_stop_comes() -> None:
    engine = FakeEngine()
    histories.busy(engine)
    engine.publish(ev.Stopping("quit", 2, 72.0))
    engine.clock.advance(10)
    assert shown(engine)[2].startswith("■ quit: waiting for 2 jobs · forced stop in 1 min 2 s · q kill now")


def test_a_remote_server_is_named_at_any_width() -> None:
    engine = FakeEngine()
    histories.idle(engine, histories.REMOTE)
    assert "REMOTE wss://my.livekit.cloud" in shown(engine)[1]
    state = engine.bus.state
    both = (*left_parts(state), *right_parts(state, engine.clock.time()))
    assert "REMOTE my.livekit.cloud" in text(both, 78)
    assert "REMOTE" in text(both, 30)


def test_the_deployment_is_shown_or_that_production_calls_can_arrive() -> None:
    engine = FakeEngine()
    histories.idle(engine, histories.REMOTE)
    assert "deployment ann-laptop" in shown(engine)[0]
    assert "production" not in shown(engine)[1]
    registered = ev.WorkerRegistered(
        "AW_1", histories.REMOTE.url, histories.REMOTE.kind, "1.11.0", "", deployment="ann-laptop"
    )
    for exposed in (replace(registered, deployment=""), replace(registered, knows_deployments=False)):
        engine.publish(exposed)
        assert "▲ production calls can arrive" in shown(engine)[1]
        assert "▲ production" in shown(engine, 50)[1]


def test_a_full_worker_is_marked_with_a_word() -> None:
    engine = FakeEngine(loadThreshold="0.5")
    histories.idle(engine)
    engine.publish(ev.WorkerLoadMeasured(0.61, 0.61))
    assert "▲ full" in shown(engine)[2]


def test_load_history_samples_the_measured_load() -> None:
    history = LoadHistory()
    nothing = WorkerView(state=RegistrationState.REGISTERED)
    history.sample(nothing, 0.0)
    assert history.samples == ()
    for tick in range(100):
        history.sample(replace(nothing, measured_load=0.1 * (tick // 20)), tick * 0.1)
    assert history.samples == pytest.approx((0.1, 0.2, 0.3, 0.4))
    history.sample(replace(nothing, state=RegistrationState.OFFLINE, measured_load=0.9), 100.0)
    assert len(history.samples) == 4


def test_bars_end_at_the_threshold() -> None:
    assert bars((0.0, 0.35, 0.7, 2.0), 0.7) == "▁▅██"
    assert bars((0.5,), math.inf) == "▅"


def test_the_least_important_parts_are_dropped_first() -> None:
    parts = (part(0, (Span("name"),)), part(2, (Span("long one"),), (Span("one"),)), part(1, (Span("two"),)))
    assert text(parts, 30) == "name · long one · two"
    assert text(parts, 18) == "name · one · two"
    assert text(parts, 12) == "name · two"
    assert text(parts, 1) == "name"


@pytest.mark.parametrize("state", histories.ALL)
@pytest.mark.parametrize("width", [38, 60, 78, 118, 198])
def test_every_state_fits_every_width(state: str, width: int) -> None:
    engine = FakeEngine()
    histories.ALL[state](engine)
    view, now = engine.bus.state, engine.clock.time()
    lines = fit((*left_parts(view), *right_parts(view, now)), width, " · ")
    assert width_of(joined(lines, " · ")) <= max(width, 46)
    options = engine.resolution.options
    second = second_line(figures(view, now, options, (0.1,) * 8), notices(view, options), width)
    assert width_of(second) <= max(width, 45)


class Host(App[None]):
    def compose(self) -> ComposeResult:
        yield Header()


async def test_two_lines_as_wide_as_the_screen() -> None:
    engine = FakeEngine()
    histories.busy(engine)
    app = Host()
    async with app.run_test(size=(120, 10)) as pilot:
        header = app.query_one(Header)
        header.show(engine.bus.state, engine.clock.time(), engine.resolution.options)
        await pilot.pause()
        first, second = header.render().plain.split("\n")
        assert cell_len(first) == 118
        assert first.endswith("embedded · no audio")
        assert second.startswith("jobs 2")
        assert cell_len(second) == 118


async def test_without_a_changed_text_nothing_is_painted(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = FakeEngine()
    histories.idle(engine)
    app = Host()
    async with app.run_test():
        header = app.query_one(Header)
        options = engine.resolution.options
        header.show(engine.bus.state, engine.clock.time(), options)
        painted: list[object] = []
        monkeypatch.setattr(header, "refresh", lambda *a, **k: painted.append(a))
        header.show(engine.bus.state, engine.clock.time() + 0.1, options)
        assert painted == []
        header.show(engine.bus.state, engine.clock.time() + 1.1, options)
        assert painted == []  # nothing counts seconds
        header.show(engine.bus.state, engine.clock.time() + 61.0, options)
        assert len(painted) == 1


async def test_outside_text_stays_text() -> None:
    engine = FakeEngine()
    histories.idle(engine)
    engine.publish(ev.Starting("0.1.0", f"/tmp/{HOSTILE.replace('/', '')}", ""))
    engine.publish(ev.WorkerDisconnected(HOSTILE, 4.0, 1))
    app = Host()
    async with app.run_test(size=(240, 10)) as pilot:
        header = app.query_one(Header)
        header.show(engine.bus.state, engine.clock.time(), engine.resolution.options)
        await pilot.pause()
        plain = header.render().plain
        assert "([/x][bold]red 漢字" in plain
        assert not {"\x1b", "\u202e", "\x07"} & set(plain)
        assert plain.count("\n") == 1
