"""A load that the screen runs, and how it ends."""

import asyncio

from agent_tui.model import commands as cmd
from agent_tui.tui.load_run import LoadRun
from agent_tui.tuning.loads import Load, Pattern
from tests.fakes.engine import FakeEngine


async def test_what_a_guard_refuses_ends_it_with_the_reason() -> None:
    engine = FakeEngine()
    engine.results = [
        cmd.CommandResult(True, "", dispatches={1: "a"}),
        cmd.CommandResult(False, "needs its name", refused=True),
    ]
    load = LoadRun(engine, Load(2, pattern=Pattern.BURST), engine.clock)
    async with asyncio.timeout(10):
        await load.run()
    assert load.view.ended == "needs its name"
    assert not load.running
