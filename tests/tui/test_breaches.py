"""The breaches panel."""

import re

from textual.app import App, ComposeResult

from agent_tui.model import events as ev
from agent_tui.model.child import MemoryMeasure
from agent_tui.tui.app import AgentTuiApp
from agent_tui.tui.widgets.breaches import SHOWN, Breaches, breach_rows
from agent_tui.tui.widgets.processes import Processes
from tests.fakes.engine import FakeEngine
from tests.fakes.scripted_child import until
from tests.tui import histories
from tests.tui.hostile import HOSTILE
from tests.tui.page_host import page_host, painted

NONE = "No breaches · warn at 1,000 MB"


def texts(engine: FakeEngine) -> list[str]:
    return ["".join(span.text for span in line) for _, line in breach_rows(engine.bus.state)]


def warned(job: str | None, mb: float, uss: float | None = None, process: str = "p1") -> ev.MemoryWarned:
    return ev.MemoryWarned(process, 8123, job, mb, MemoryMeasure.RSS, mb, uss, 1000.0, 0.0, 131.0)


def test_without_breaches_the_panel_says_what_would_appear() -> None:
    assert texts(FakeEngine()) == [NONE]


def test_the_newest_breach_comes_first_with_room_and_growth() -> None:
    engine = FakeEngine()
    histories.busy(engine)
    engine.publish(warned(None, 1500.0, process="p9"))
    newest, first = texts(engine)
    assert re.fullmatch(
        r"\d\d:\d\d:\d\d ⚠ warning pid 8123, no job rss 1,500 MB > 1,000 MB, \+1,369 MB since start", newest
    )
    assert first.endswith(
        "⚠ warning demo-1 rss 1,012 MB > 1,000 MB, +881 MB since start (uss 640 MB), pid 8123"
    )


def test_breaches_of_one_process_are_one_line() -> None:
    engine = FakeEngine()
    engine.publish(*(warned("AJ_1", 1000.0 + n) for n in (1, 2, 3)), warned("AJ_2", 1100.0, process="p2"))
    newest, older = texts(engine)
    assert " AJ_2 rss 1,100 MB" in newest
    assert older.startswith("3× ")
    assert " AJ_1 rss 1,003 MB" in older


def test_processes_that_do_not_fit_are_counted() -> None:
    engine = FakeEngine()
    engine.publish(*(warned(f"AJ_{n}", 1000.0 + n, process=f"p{n}") for n in range(SHOWN + 7)))
    lines = texts(engine)
    assert len(lines) == SHOWN + 1
    assert f"AJ_{SHOWN + 6} " in lines[0]
    assert lines[-1] == "7 more processes · B show all"


class Host(App[None]):
    def compose(self) -> ComposeResult:
        yield Breaches()


async def test_a_single_line_has_no_border() -> None:
    engine = FakeEngine()
    histories.busy(engine)
    async with page_host(engine, kind=AgentTuiApp, size=(80, 24)) as (app, pilot):
        panel = app.panel(Breaches)
        assert (panel.outer_size.height, panel.option_count) == (1, 1)
        engine.publish(warned(None, 1900.0, process="p8"))
        await painted(app, engine, pilot)
        assert (panel.outer_size.height, panel.option_count) == (3, 2)


async def test_the_widget_shows_them_as_plain_text() -> None:
    engine = FakeEngine()
    app = Host()
    async with app.run_test(size=(120, 10)) as pilot:
        breaches = app.query_one(Breaches)
        await pilot.pause()
        assert str(breaches.get_option_at_index(0).prompt) == NONE
        engine.publish(ev.OfferReceived("AJ_1", HOSTILE, "", 1), warned("AJ_1", 1200.0))
        breaches.show(engine.bus.state, engine.clock.time())
        await pilot.pause()
        assert breaches.border_title == "Breaches 1"
        assert "[/x][bold]red 漢字" in str(breaches.get_option_at_index(0).prompt)
        assert "\x1b" not in app.export_screenshot()


async def test_S_and_a_click_sort_the_panel() -> None:
    engine = FakeEngine()
    histories.busy(engine)
    engine.publish(warned(None, 1900.0, process="p8"), warned(None, 1300.0, process="p9"))
    async with page_host(engine, kind=AgentTuiApp) as (app, pilot):
        panel = app.panel(Breaches)

        def used() -> list[str]:
            return re.findall(r"rss ([\d,]+) MB >", "\n".join(str(each.prompt) for each in panel.options))

        assert used() == ["1,300", "1,900", "1,012"]
        panel.focus()
        await pilot.press("S")
        await until(lambda: used() == ["1,900", "1,300", "1,012"])
        assert "S by memory" in str(panel.border_subtitle)
        await pilot.click(offset=(panel.region.right - 6, panel.region.bottom - 1))
        await until(lambda: "S by process" in str(panel.border_subtitle))
        assert app.panel(Processes).order.column == ""
