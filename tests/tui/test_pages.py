"""What pages share: the footer with the keys that work there, and tabs."""

import pytest
from textual.content import Content

from agent_tui.model import events as ev
from agent_tui.tui.app import AgentTuiApp
from agent_tui.tui.screens.job import JobPage
from agent_tui.tui.screens.tuning import TuningPage
from agent_tui.tui.widgets.key_bar import KeyBar
from agent_tui.tui.widgets.processes import Processes
from tests.fakes.engine import FakeEngine
from tests.fakes.scripted_child import until
from tests.tui import histories
from tests.tui.page_host import page_host, painted
from tests.tui.test_tuning_page import LOAD, measured


def footer(app: AgentTuiApp) -> str:
    content = app.screen.query_one(KeyBar).content
    assert isinstance(content, Content)
    return content.plain


def title(app: AgentTuiApp) -> str:
    return tabs(app).plain


def tabs(app: AgentTuiApp) -> Content:
    content = app.screen.query_one(".page-box")._border_title
    assert content is not None
    return content


def selected(app: AgentTuiApp) -> str:
    """Return the underlined tab."""
    content = tabs(app)
    return next(
        content.plain[span.start : span.end] for span in content.spans if "underline" in str(span.style)
    )


@pytest.mark.parametrize("size", [(80, 24), (120, 40)])
@pytest.mark.parametrize(
    ("keys", "own"),
    [
        (["j"], "⏎ Open  "),
        (["j", "end", "enter"], "[ ] Tabs"),
        (["T"], "b Test load"),
        (["B"], "⏎ Open"),
        (["i"], "↑ ↓ Scroll"),
        (["g"], "⏎ Read"),
        (["E"], "^o Changed only"),
        (["question_mark"], "⏎ Run"),
    ],
    ids=lambda value: value[-1] if isinstance(value, list) else "",
)
async def test_every_page_has_a_footer_that_ends_with_help_and_the_way_back(
    keys: list[str], own: str, size: tuple[int, int]
) -> None:
    engine = FakeEngine()
    histories.busy(engine)
    async with page_host(engine, keys[0], size=size) as (app, pilot):
        await pilot.press(*keys[1:])
        await until(lambda: own in footer(app))
        assert footer(app).endswith(("? Help  esc Back", "esc Back"))
        assert len(footer(app)) <= size[0] - 2


async def test_the_footer_of_the_search_names_its_key() -> None:
    engine = FakeEngine()
    histories.busy(engine)
    async with page_host(engine, kind=AgentTuiApp) as (app, pilot):
        await pilot.press("3", "slash")
        await until(lambda: "↑ ↓ Next match" in footer(app))


async def test_digits_brackets_arrows_and_clicks_select_the_tabs_of_a_job() -> None:
    engine = FakeEngine()
    histories.busy(engine)
    async with page_host(engine, "j") as (app, pilot):
        await pilot.press("enter")
        await until(lambda: isinstance(app.screen, JobPage))
        await until(lambda: title(app).startswith("1 Overview  2 Log  3 Job and token"))
        for key, tab in (
            ("2", "2 Log"),
            ("3", "3 Job and token"),
            ("right_square_bracket", "1 Overview"),
            ("left_square_bracket", "3 Job and token"),
            ("right", "1 Overview"),
            ("left", "3 Job and token"),
            ("1", "1 Overview"),
        ):
            await pilot.press(key)
            assert selected(app) == tab, key
        top = app.screen.query_one(".page-box").region.y
        await pilot.click(offset=(3 + title(app).index("2 Log"), top))
        assert selected(app) == "2 Log"


async def test_digits_and_brackets_switch_between_a_load_and_a_sweep() -> None:
    engine = FakeEngine()
    histories.busy(engine)
    async with page_host(engine, "T") as (app, pilot):
        assert isinstance(app.screen, TuningPage)
        assert "Tabs" not in footer(app)
        await pilot.press("2")
        measured(engine)
        await until(lambda: title(app) == "Sweep")
        engine.publish(ev.TestLoadChanged(LOAD))
        await until(lambda: title(app) == "1 Test load  2 Sweep")
        assert selected(app) == "1 Test load"
        await until(lambda: "[ ] Tabs" in footer(app))
        for key, tab in (("2", "2 Sweep"), ("right_square_bracket", "1 Test load"), ("tab", "2 Sweep")):
            await pilot.press(key)
            assert selected(app) == tab, key


def shown_memory(app: AgentTuiApp) -> str:
    return app.panel(Processes).render_line(1).text


async def test_nothing_below_a_full_page_is_painted_until_it_closes() -> None:
    engine = FakeEngine()
    histories.talk(engine)
    async with page_host(engine, kind=AgentTuiApp) as (app, pilot):
        dashboard = app.screen
        for number, key in enumerate("jTBgEC?", 201):
            await pilot.press(key)
            await until(lambda: app.screen is not dashboard and app.screen.is_mounted)
            assert app.screen.styles.background.a == 1, key
            assert not dashboard.is_current, key
            engine.publish(ev.ProcessMeasured("p1", number, number, number, used_mb=number))
            engine.clock.advance(1.0)
            await painted(app, engine, pilot)
            assert str(number) not in shown_memory(app), key
            while app.screen is not dashboard:  # where text is typed, the first Esc ends that
                await pilot.press("escape")
            assert str(number) in shown_memory(app), key


async def test_the_dashboard_is_visible_behind_a_dialog() -> None:
    engine = FakeEngine()
    histories.busy(engine)
    async with page_host(engine, "y", kind=AgentTuiApp) as (app, pilot):
        assert app.screen.styles.background.a < 1
        assert app.screen_stack[0].is_current
        engine.publish(ev.ProcessMeasured("p1", 201.0, 201.0, 201.0, used_mb=201.0))
        engine.clock.advance(1.0)
        await painted(app, engine, pilot)
        assert "201" in shown_memory(app)


async def test_a_page_may_be_open_while_the_terminal_changes() -> None:
    engine = FakeEngine()
    histories.busy(engine)
    async with page_host(engine, "j", "end", "enter", kind=AgentTuiApp) as (app, pilot):
        await until(lambda: len(app.screen_stack) == 3)
        dashboard = app.screen_stack[0]
        await pilot.resize_terminal(80, 24)
        await pilot.press("escape", "escape")
        await until(lambda: app.screen is dashboard and dashboard.has_class("-narrow"))
        assert dashboard.size == (80, 24)
        await pilot.pause()
        assert app.panel(Processes).size.width == 80 - 2
