"""The dispatch panel: results of dispatches, and its buttons."""

import pytest
from textual.app import App, ComposeResult
from textual.widgets import Static

from agent_tui.model import events as ev
from agent_tui.model.state import AppState, DispatchView, JobPhase, JobView
from agent_tui.tui.actions import ActionRequested
from agent_tui.tui.widgets.dispatch_panel import SHOWN, DispatchPanel, outcome, row, rows, without_media
from tests.fakes.engine import FakeEngine
from tests.tui import histories

DISPATCH = DispatchView("demo", 100.0, job_id="AJ_1")


def job(phase: JobPhase, **more: object) -> JobView:
    return JobView("AJ_1", "demo", phase, 100.0, **more)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("dispatch", "its_job", "word", "took", "why"),
    [
        (DispatchView("demo", 100.0), None, "waiting", "3 s", ""),
        (DISPATCH, job(JobPhase.OFFERED), "offered", "", ""),
        (DISPATCH, job(JobPhase.ASSIGNED), "assigned", "", ""),
        (DISPATCH, job(JobPhase.RUNNING, warm=True, dispatch_to_entry_ms=11.2), "running", "11 ms", ""),
        (
            DISPATCH,
            job(JobPhase.RUNNING, warm=False, dispatch_to_entry_ms=2310.0),
            "running",
            "cold 2.3 s",
            "",
        ),
        (DISPATCH, job(JobPhase.ENDED, status=ev.JobStatus.SUCCESS, reason="done"), "ok", "", ""),
        (DISPATCH, job(JobPhase.ENDED, status=ev.JobStatus.FAILED, reason="boom"), "failed", "", "boom"),
        (DISPATCH, job(JobPhase.ENDED, status=ev.JobStatus.TERMINATED, reason="x"), "terminated", "", "x"),
        (DISPATCH, job(JobPhase.DECLINED), "lost", "", "offer declined"),
        (DispatchView("demo", 100.0, lost="no offer", number=1), None, "lost", "", "no offer"),
        (DispatchView("demo", 100.0, lost="full"), None, "lost", "", "full (dispatched by another client)"),
        (DISPATCH, None, "ended", "", ""),
    ],
)
def test_the_result_of_a_dispatch(
    dispatch: DispatchView, its_job: JobView | None, word: str, took: str, why: str
) -> None:
    became = outcome(dispatch, its_job, now=103.0)
    assert (became.word, became.took, became.why) == (word, took, why)
    assert became.glyph


@pytest.mark.parametrize("width", [1, 20, 40, 118])
@pytest.mark.parametrize("room", ["demo", "漢字" * 40, "[/x]\x1b[31m\u202e" * 9, "👩‍👩‍👧" * 30])
def test_a_row_never_spills_over_its_width(room: str, width: int) -> None:
    dispatch = DispatchView(room, 0.0, lost="no [/x] \x1b]0;t\x07 worker " * 5)
    text = row(dispatch, outcome(dispatch, None, 0.0), width).plain
    assert "\x1b" not in text
    assert "\u202e" not in text
    if width >= 20:
        head, *why = text.split("\n")
        assert row(dispatch, outcome(DispatchView(room, 0.0), None, 0.0), width).cell_length == width
        assert head.startswith("✗ lost")
        assert all(len(line) <= width for line in why)


def test_the_newest_dispatches_come_first_up_to_a_limit() -> None:
    many = tuple(DispatchView(f"room-{number}", 0.0) for number in range(SHOWN + 20))
    lines = rows(AppState(dispatches=many), 0.0, 40).plain.split("\n")
    assert len(lines) == SHOWN
    assert f"room-{SHOWN + 19}" in lines[0]
    assert rows(AppState(), 0.0, 40).plain == "Test jobs appear here, with their result and time to entry."


def test_only_a_server_without_media_gets_a_warning() -> None:
    assert without_media(AppState()) == ""
    assert without_media(AppState(server=histories.LOCAL)) == ""
    assert "livekit-server" in without_media(AppState(server=histories.EMBEDDED))


class Host(App[None]):
    def compose(self) -> ComposeResult:
        yield DispatchPanel(again_key="d", form_key="D")


def shown(app: App[None]) -> str:
    return str(app.query_one("#dispatch-rows", Static).content)


@pytest.mark.parametrize("size", [(30, 10), (80, 24), (120, 40), (200, 60)])
async def test_a_history_is_shown_and_updated(size: tuple[int, int]) -> None:
    engine = FakeEngine()
    histories.busy(engine)
    app = Host()
    async with app.run_test(size=size) as pilot:
        panel = app.query_one(DispatchPanel)
        assert panel.last_room == ""
        panel.show(engine.bus.state, engine.clock.time())
        await pilot.pause()
        lines = shown(app).split("\n")
        assert lines[0].startswith("✗ failed")
        assert "ValueError: no" in lines[1]
        assert lines[2].startswith("● running")
        assert panel.last_room == "demo-3"
        assert app.query_one("#dispatch-media").display
        engine.publish(ev.Dispatched("next", "", None, 9))
        panel.show(engine.bus.state, engine.clock.time() + 2)
        assert shown(app).startswith("◌ waiting")
        assert panel.last_room == "next"
        panel.show(engine.bus.state, engine.clock.time() + 7)
        assert "7 s" in shown(app).split("\n")[0]


async def test_without_a_change_nothing_is_painted(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = FakeEngine()
    histories.busy(engine)
    app = Host()
    async with app.run_test() as pilot:
        panel = app.query_one(DispatchPanel)
        panel.show(engine.bus.state, 0.0)
        await pilot.pause()
        updates: list[object] = []
        monkeypatch.setattr(Static, "update", lambda *args, **_: updates.append(args))
        engine.publish(ev.WorkerLoadMeasured(0.5, 0.0))
        panel.show(engine.bus.state, 1.0)
        assert updates == []
        engine.publish(ev.Dispatched("next", "", None, 9))
        panel.show(engine.bus.state, 2.0)
        assert len(updates) == 1


async def test_the_buttons_request_a_dispatch_and_the_form() -> None:
    messages: list[object] = []
    app = Host()
    async with app.run_test(message_hook=messages.append) as pilot:
        await pilot.click("#dispatch-again")
        await pilot.click("#dispatch-form")
        await pilot.pause()
    requested = {message.name for message in messages if isinstance(message, ActionRequested)}
    assert requested == {"dispatch", "dispatch_form"}
