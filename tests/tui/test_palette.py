"""The command palette: the actions of the registry with their keys."""

from textual.command import CommandPalette
from textual.widgets import OptionList

from agent_tui.model import commands as cmd
from agent_tui.tui.preferences import Preferences
from tests.fakes.engine import FakeEngine
from tests.fakes.scripted_child import until
from tests.tui import histories
from tests.tui.page_host import page_host


async def test_the_palette_shows_each_action_with_the_users_keys_and_runs_it() -> None:
    engine = FakeEngine()
    histories.idle(engine)
    preferences = Preferences(keys={"reload": ("f5",)})
    async with page_host(engine, preferences=preferences) as (app, pilot):
        await pilot.press("ctrl+p")
        await until(lambda: isinstance(app.screen, CommandPalette))

        def shown() -> list[list[str]]:
            found = app.screen.query_one(OptionList)
            prompts = [str(found.get_option_at_index(at).prompt) for at in range(found.option_count)]
            return [prompt.split("\n")[0].split() for prompt in prompts]

        await until(lambda: ["Help", "?"] in shown())
        assert ["Go", "to", "time…", "t"] in shown()
        await pilot.press(*"reload the agent")
        await until(lambda: shown()[:1] == [["Reload", "F5"]])
        await pilot.press("enter", "enter")
        await until(lambda: engine.commands == [cmd.Reload()])
