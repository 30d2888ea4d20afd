"""The stock of blank processes: what is given, what comes back, what is replaced."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from agent_tui.model import child as ch
from agent_tui.model.events import Event, ProcessChanged, ProcessState
from agent_tui.runtimes.node.blanks import STOCK, Blank, Blanks
from agent_tui.runtimes.node.find import NodeInterpreter

from ...fakes.clock import FakeClock
from ...nodes import needs_node, nodes, project, sdks
from ..support import Sink, alive, clean_environ, nothing_left, poll
from .support import write

pytestmark = [pytest.mark.real, needs_node]
JOB, CONTROL = ch.ProcessKind.JOB, ch.ProcessKind.CONTROL


@asynccontextmanager
async def stock(folder: Path, *, cores: int = 4) -> AsyncIterator[tuple[Blanks, list[Event]]]:
    """A filled stock, surely ended."""
    write(project(folder), {"agent.mjs": ""})
    package = (sdks()[0] / "node_modules/@livekit/agents").resolve()
    node = NodeInterpreter(nodes()[0], "", "", (), package=package, sdk_version="1.9.0")
    events: list[Event] = []
    async with nothing_left():
        blanks = Blanks(node, folder / "agent.mjs", folder, Sink(), FakeClock(), events.append, cores=cores)
        try:
            blanks._environ = clean_environ()
            blanks._fill()
            yield blanks, events
        finally:
            await blanks.close("the test is done")


def states(events: list[Event], process_id: str) -> list[tuple[ProcessState, str | None]]:
    return [
        (each.state, each.reason)
        for each in events
        if isinstance(each, ProcessChanged) and each.id == process_id
    ]


async def ready(*blanks: Blank) -> None:
    for each in blanks:
        await each.ready


async def test_a_blank_that_was_not_needed_goes_back(tmp_path: Path) -> None:
    async with stock(tmp_path) as (blanks, events):
        assert len(blanks.stock) == STOCK
        first = blanks.claim(clean_environ(), CONTROL, "c1")
        assert first not in blanks.stock
        blanks.give_back(first)
        assert blanks.stock[0] is first
        await ready(first)
        assert states(events, first.id) == [
            (ProcessState.STARTING, ""),
            (ProcessState.ENDED, "became c1"),
            (ProcessState.STARTING, ""),
            (ProcessState.IDLE, ""),
        ]
        assert blanks.claim(clean_environ(), CONTROL, "c2") is first
        blanks.give_back(first)


async def test_the_farthest_one_is_given_and_the_stock_is_filled_again(tmp_path: Path) -> None:
    async with stock(tmp_path) as (blanks, _):
        await ready(blanks.stock[1])
        second = blanks.stock[1]
        first = blanks.claim(clean_environ(), JOB, "p1")
        assert first.ready.done()
        await poll(lambda: len(blanks.stock) == STOCK)
        assert first not in blanks.stock
        blanks.give_back(first)
        await poll(lambda: len(blanks.stock) == STOCK)  # and no more than that
        assert second is first or second in blanks.stock


async def test_no_more_start_at_once_than_there_are_cores(tmp_path: Path) -> None:
    async with stock(tmp_path, cores=1) as (blanks, _):
        assert len(blanks.stock) == 1
        await ready(*blanks.stock)
        await poll(lambda: len(blanks.stock) == STOCK)


async def test_nodes_own_environment_decides_whether_one_fits(tmp_path: Path) -> None:
    async with stock(tmp_path) as (blanks, _):
        before = blanks.stock
        taken = blanks.claim({**clean_environ(), "MY_KEY": "x"}, JOB, "p1")
        assert taken in before  # a variable of the agent's is set when it gets the file
        blanks.give_back(taken)
        other = blanks.claim({**clean_environ(), "NODE_OPTIONS": "--max-old-space-size=512"}, JOB, "p2")
        assert other not in before
        await poll(lambda: not any(alive(each.pid) for each in before))
        blanks.give_back(other)


async def test_a_changed_package_json_replaces_the_stock(tmp_path: Path) -> None:
    async with stock(tmp_path) as (blanks, _):
        before = blanks.stock
        os.utime(tmp_path / "package.json", ns=(1, 1))
        taken = blanks.claim(clean_environ(), JOB, "p1")
        assert taken not in before
        blanks.give_back(taken)


async def test_one_that_dies_is_replaced_and_told(tmp_path: Path) -> None:
    async with stock(tmp_path) as (blanks, events):
        first = blanks.stock[0]
        await ready(first)
        first.process.kill()
        await poll(lambda: states(events, first.id)[-1] == (ProcessState.ENDED, "it ended by itself"))
        await poll(lambda: len(blanks.stock) == STOCK)
        assert first not in blanks.stock
