"""What the screen paints: nothing at rest, only what changed otherwise, and streamed text at once."""

import pytest
from textual._compositor import Compositor
from textual.geometry import Region
from textual.pilot import Pilot
from textual.screen import Screen

from agent_tui.model import events as ev
from agent_tui.model import session_events as se
from agent_tui.tui.app import CLOCK_TICKS, AgentTuiApp
from agent_tui.tui.compositor import RowCompositor
from agent_tui.tui.widgets.detail import Detail
from agent_tui.tui.widgets.detail_text import Tab
from agent_tui.tui.widgets.header import SAMPLE_S, SAMPLES
from agent_tui.tui.widgets.line_text import LineText
from agent_tui.tui.widgets.options_panel import OptionsPanel
from agent_tui.tui.widgets.processes import Processes
from agent_tui.tui.widgets.talk_pane import TalkPane
from agent_tui.tui.widgets.text import Line, Span
from tests.fakes.engine import FakeEngine
from tests.fakes.scripted_child import until
from tests.tui import histories
from tests.tui.histories import TALKING
from tests.tui.page_host import page_host

MINUTE = 60.0
"""Until then, times on the screen change each second."""


class Counted:
    """Counts layouts and paints of screens."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.layouts = self.paints = 0
        refresh, render = Screen._refresh_layout, Compositor.render_update

        def refresh_layout(screen: Screen[object], *args: object, **more: object) -> None:
            self.layouts += 1
            refresh(screen, *args, **more)  # type: ignore[arg-type]

        def render_update(compositor: Compositor, *args: object, **more: object) -> object:
            self.paints += 1
            return render(compositor, *args, **more)  # type: ignore[arg-type]

        monkeypatch.setattr(Screen, "_refresh_layout", refresh_layout)
        monkeypatch.setattr(Compositor, "render_update", render_update)


async def pass_time(engine: FakeEngine, app: AgentTuiApp, pilot: Pilot[int], seconds: float) -> None:
    """Let each tick of that time paint."""
    for _ in range(round(seconds * 10)):
        engine.clock.advance(0.1)
        app._ticks = CLOCK_TICKS - 1  # as if a second had passed without a change
        app._paint()
        await pilot.pause()


async def settle(engine: FakeEngine, app: AgentTuiApp, pilot: Pilot[int]) -> None:
    """Wait until no text counts seconds, and the graph of the load is full of equal samples."""
    engine.clock.advance(2 * MINUTE)
    for _ in range(SAMPLES + 1):
        engine.clock.advance(SAMPLE_S)
        await pass_time(engine, app, pilot, 0.2)
    await pass_time(engine, app, pilot, 1.5)


@pytest.mark.parametrize("tab", [Tab.TALK, Tab.JOB, Tab.MEMORY, Tab.OPTIONS])
async def test_at_rest_nothing_is_painted(tab: Tab, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = FakeEngine()
    histories.idle(engine)
    async with page_host(engine, kind=AgentTuiApp) as (app, pilot):
        app.panel(Detail).tab = tab
        await settle(engine, app, pilot)
        counted = Counted(monkeypatch)
        await pass_time(engine, app, pilot, 1.0)
        assert (counted.layouts, counted.paints) == (0, 0)


async def test_a_changed_figure_costs_no_layout(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = FakeEngine()
    histories.idle(engine)
    async with page_host(engine, kind=AgentTuiApp) as (app, pilot):
        app.panel(Detail).tab = Tab.JOB
        await settle(engine, app, pilot)
        counted = Counted(monkeypatch)
        engine.publish(ev.ProcessMeasured("p1", 171.4, 132.0, 148.5))
        await pass_time(engine, app, pilot, 1.0)
        assert "171" in app.panel(Processes).render_line(1).text
        assert counted.layouts == 0
        assert counted.paints in (
            1,
            2,
        )  # the header at once, other panels within 0.5 s


async def test_only_changed_lines_of_a_text_are_painted() -> None:
    def lines(*texts: str) -> tuple[Line, ...]:
        return tuple((Span(text),) for text in texts)

    engine = FakeEngine()
    histories.idle(engine)
    async with page_host(engine, kind=AgentTuiApp) as (app, pilot):
        text = LineText()
        await app.screen.mount(text)
        text.show(lines("one", "two", "three"))
        await pilot.pause()
        text.show(lines("one", "2", "three"))
        assert {region.y for region in text._dirty_regions} == {1}
        await pilot.pause()
        assert [text.render_line(y).text.strip() for y in range(3)] == ["one", "2", "three"]


async def test_the_rows_of_the_options_are_created_when_they_are_shown() -> None:
    engine = FakeEngine()
    histories.idle(engine)
    async with page_host(engine, kind=AgentTuiApp) as (app, pilot):
        panel = app.panel(OptionsPanel)
        assert not panel.query("LiveRow")
        app.panel(Detail).tab = Tab.OPTIONS
        await until(lambda: bool(panel.query("LiveRow TextField")))
        await pilot.pause()
        assert "127.0.0.1:40999" in str(panel.query_one("#option-port .option-note").render())


async def test_streamed_text_does_not_wait_for_a_tick(monkeypatch: pytest.MonkeyPatch) -> None:
    engine = FakeEngine()
    histories.talk(engine)
    async with page_host(engine, kind=AgentTuiApp) as (app, pilot):
        await pilot.pause()
        pane = app.screen.query_one(TalkPane)
        await until(lambda: bool(engine.bus._subscriptions))  # the stream follows
        shown = app.state
        monkeypatch.setattr(app, "show", lambda: None)  # what a tick paints
        engine.publish(se.MessageDelta(TALKING, 1, 4, " yours."))
        await until(lambda: "yours." in str([pane.view.rows.at(n) for n in range(len(pane.view.rows))]))
        assert shown is not engine.state
        engine.publish(se.SessionEnded(TALKING, 1, "done"))
        await until(lambda: not engine.bus._subscriptions)  # nothing wakes up for it any more


async def test_changed_rows_are_painted_as_textual_would_paint_them() -> None:
    engine = FakeEngine()
    histories.busy(engine)
    async with page_host(engine, kind=AgentTuiApp) as (app, pilot):
        await pilot.pause()
        compositor = app.screen._compositor
        assert isinstance(compositor, RowCompositor)
        rows = {0, 1, 4, 5, 17, 30, 39}
        crop = Region(0, 0, 120, 40)
        ours = compositor._render_chops(crop, rows.__contains__)
        theirs = Compositor._render_chops(compositor, crop, rows.__contains__)
        for row in range(40):
            both = [{at: strip and list(strip) for at, strip in each[row].items()} for each in (ours, theirs)]
            assert both[0] == (both[1] if row in rows else dict.fromkeys(both[1]))
