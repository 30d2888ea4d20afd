"""The status line: what just happened."""

import pytest
from msgspec.structs import replace

from agent_tui.model import events as ev
from agent_tui.model import session_events as se
from agent_tui.tui.widgets.status_line import (
    FRESH_S,
    KEPT_S,
    Notice,
    StatusLine,
    current,
    load_notice,
    notice_line,
)
from tests.fakes.engine import FakeEngine
from tests.tui import histories
from tests.tui.hostile import HOSTILE
from tests.tui.page_host import page_host

AGENT = "/home/ann/voice/agent.py"


def shown(notice: Notice | None, now: float) -> str:
    return "".join(span.text for span in notice_line(notice, now))


def ready(number: int, *changed: str, rolled_back_to: int = 0) -> ev.GenerationReady:
    return ev.GenerationReady(
        number,
        0.0412,
        AGENT,
        "livekit-agents",
        "1.8.9",
        ev.StartMethod.FORK,
        "loading takes 9 ms",
        9.2,
        changed,
        rolled_back_to=rolled_back_to,
    )


def test_a_notice_fades_and_then_has_its_time() -> None:
    notice = Notice("copied 3 lines", 100.0)
    assert shown(None, 0.0) == ""
    assert shown(notice, 101.0) == "copied 3 lines"
    assert shown(notice, 100.0 + FRESH_S) == "00:01:40 copied 3 lines"
    assert shown(Notice("no", 100.0, failed=True), 100.0) == "✗ no"
    assert shown(Notice("no", 100.0, failed=True), 200.0) == "00:01:40 ✗ no"


def test_outside_text_stays_one_line() -> None:
    assert "\n" not in shown(Notice(HOSTILE, 1.0), 1.0)


@pytest.mark.parametrize(
    ("changed", "files"),
    [
        ((AGENT,), "agent.py"),
        ((AGENT, "/home/ann/voice/tools/search.py"), "agent.py, tools/search.py"),
        ((AGENT, "/home/ann/voice/a.py", "/home/ann/voice/b.py"), "agent.py, a.py and 1 more file"),
        ((), "generation 2"),
    ],
)
def test_a_reload_names_the_changed_files(changed: tuple[str, ...], files: str) -> None:
    engine = FakeEngine()
    histories.idle(engine)
    before = engine.bus.state
    assert load_notice(before, before) is None
    engine.publish(ready(2, *changed))
    assert load_notice(before, engine.bus.state) == Notice(f"reloaded {files} in 41 ms")


def test_jobs_on_older_code_are_counted() -> None:
    engine = FakeEngine()
    histories.busy(engine)
    before = engine.bus.state
    engine.publish(ready(2, AGENT))
    notice = load_notice(before, engine.bus.state)
    assert notice == Notice(
        "reloaded agent.py in 41 ms · 2 jobs keep generation 1 · R restarts the selected one"
    )


def test_a_broken_save_says_where_and_what_stays() -> None:
    engine = FakeEngine()
    histories.idle(engine)
    before = engine.bus.state
    engine.publish(ev.GenerationFailed(2, "NameError: x", "/home/ann/voice/tools/search.py", 7, ""))
    notice = load_notice(before, engine.bus.state)
    assert notice == Notice(
        "tools/search.py:7 does not load: NameError: x · generation 1 stays current", failed=True
    )


def test_a_roll_back_names_its_generation() -> None:
    engine = FakeEngine()
    histories.idle(engine)
    engine.publish(ready(2, AGENT))
    before = engine.bus.state
    engine.publish(ready(3, AGENT, rolled_back_to=1))
    assert load_notice(before, engine.bus.state) == Notice("rolled back to 1 in 41 ms")


def test_the_first_load_is_no_news() -> None:
    engine = FakeEngine()
    before = engine.bus.state
    histories.idle(engine)
    assert load_notice(before, engine.bus.state) is None


def test_a_job_whose_session_got_the_new_code_is_not_stale() -> None:
    engine = FakeEngine()
    histories.stale(engine)
    state = engine.bus.state
    job = next(each for each in state.live_jobs if each.generation < state.generation.current)
    assert job.process_id is not None
    assert state.is_stale(state.processes[job.process_id])
    swapped = se.Swapped(job.id, 1, 0, 1, state.generation.current, se.SwapReach.ALL, (), 0.5)
    engine.publish(se.SessionStarted(job.id, 1, "desk", True, 1), swapped)
    state = engine.bus.state
    assert not state.is_stale(state.processes[job.process_id])
    assert state.code_of(job) == state.generation.current
    engine.publish(se.SessionEnded(job.id, 1, "done"))
    assert engine.bus.state.code_of(job) == 1


def test_a_notice_goes_after_a_while_or_once_it_is_solved() -> None:
    engine = FakeEngine()
    histories.broken(engine)
    broken = engine.bus.state
    plain = Notice("copied", 100.0)
    assert current((plain,), broken, 100.0 + KEPT_S) is plain
    assert current((plain,), broken, 101.0 + KEPT_S) is None
    assert current((), broken, 0.0) is None
    load = Notice("does not load", 100.0, True, lambda state: not state.generation.is_broken)
    assert current((plain, load), broken, 5000.0) is load
    engine.publish(replace(histories.READY, generation=2))
    assert current((plain, load), engine.bus.state, 101.0) is None


async def test_on_a_page_a_notice_is_above_the_footer_and_nothing_moves() -> None:
    engine = FakeEngine()
    histories.busy(engine)
    async with page_host(engine, "j", size=(100, 24)) as (app, pilot):
        box = app.screen.query_one(".page-box")
        before = box.region
        app.notify_line("saved the picture")
        await pilot.pause()
        line = app.screen.query_one(StatusLine)
        assert line.region == (0, 22, 100, 1)
        assert (box.region, app.screen.show_vertical_scrollbar) == (before, False)
        assert app.screen.get_widget_at(5, 22)[0] is line
        line.show(None, 0.0)
        await pilot.pause()
        assert app.screen.get_widget_at(5, 22)[0] is not line
