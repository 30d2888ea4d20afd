"""The keys for the stacks of the selected process and for quitting after the jobs."""

from agent_tui.model import commands as cmd
from agent_tui.tui.app import AgentTuiApp
from agent_tui.tui.screens.page import StacksPage
from agent_tui.tui.widgets.processes import Processes
from tests.fakes.engine import FakeEngine
from tests.fakes.scripted_child import until
from tests.tui import histories
from tests.tui.page_host import app_over, page_host


async def test_s_shows_the_stacks_of_the_selected_process() -> None:
    engine = FakeEngine()
    app = app_over(engine, AgentTuiApp)
    async with app.run_test(size=(120, 40)) as pilot:
        histories.idle(engine)
        await until(lambda: app.panel(Processes).selected is not None)
        engine.results.append(cmd.CommandResult(True, "Thread MainThread:\n  [bold]x[/] \x1b[31m"))
        await pilot.press("s")
        await until(lambda: isinstance(app.screen, StacksPage))
        assert cmd.DumpStacks("p1") in engine.commands
        assert "Main thread:\n  [bold]x[/]" in str(app.screen.query_one("#page-box Static").render())
        await pilot.press("s")
        await pilot.pause()
        assert not isinstance(app.screen, StacksPage)


async def test_Q_drains_once_and_then_q_kills() -> None:
    engine = FakeEngine()
    engine.obedient = False
    histories.idle(engine)
    async with page_host(engine) as (_, pilot):
        await pilot.press("Q")
        await pilot.pause()
        await pilot.press("Q")
        await pilot.pause()
        await pilot.press("q")
        await pilot.pause()
        stops = [each for each in engine.commands if isinstance(each, cmd.Stop)]
        assert stops == [
            cmd.Stop("quit after jobs", drain=True),
            cmd.Stop("quit", kill=True),
        ]
        engine.obedient = True
