"""The stock of blank processes: what is claimed, what is returned, what is replaced.

The processes are real, but not Node: only their one line and their end matter to the stock.
"""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from agent_tui.model import child as ch
from agent_tui.model.events import Event, ProcessChanged, ProcessState, StartMethod
from agent_tui.runtimes.node import blanks as module
from agent_tui.runtimes.node.blanks import IMPORT_LIMIT_S, STOCK, Blank, Blanks
from agent_tui.runtimes.node.find import NodeInterpreter, with_packages
from agent_tui.runtimes.spawn import Command

from ...fakes.clock import FakeClock
from ..support import Sink, alive, clean_environ, nothing_left, poll
from .support import write

pytestmark = pytest.mark.real
JOB, CONTROL = ch.ProcessKind.JOB, ch.ProcessKind.CONTROL
SDK = "node_modules/@livekit/agents/package.json"
READY = "import os, time; os.write(int(os.environ['NODE_CHANNEL_FD']), b'{}\\n'); time.sleep(60)"
HANGS = "import time; time.sleep(60)"


class Stock(Blanks):
    """A stock whose blanks run this code, with the packages that they should preload."""

    code = READY
    clock: FakeClock
    preloads: list[list[str]]


@pytest.fixture(autouse=True)
def light_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    real = module.blank_command
    Stock.code, Stock.preloads = READY, []

    def command(*args: Any) -> Command:
        as_node = real(*args)
        Stock.preloads.append(json.loads(as_node.arguments[-1])["preload"])
        arguments = [sys.executable, "-ISc", Stock.code]
        return Command(arguments, as_node.cwd, as_node.environ, as_node.fd_variable, as_node.side_variable)

    monkeypatch.setattr(module, "blank_command", command)
    monkeypatch.setattr(module, "REFILL_AFTER_S", 0.05)


@asynccontextmanager
async def stock(
    folder: Path, *, cores: int = 4, keeps_stock: bool = True
) -> AsyncIterator[tuple[Stock, list[Event]]]:
    """A filled stock that is ended afterwards."""
    write(folder, {"agent.mjs": "", "package.json": "{}", SDK: '{"version": "1.9.0"}'})
    node = with_packages(NodeInterpreter(Path("/usr/bin/node"), "20.0.0", "", ()), folder / "agent.mjs")
    events: list[Event] = []
    clock = FakeClock()
    async with nothing_left():
        blanks = Stock(
            node,
            folder / "agent.mjs",
            folder,
            Sink(),
            clock,
            events.append,
            cores=cores,
            keeps_stock=keeps_stock,
        )
        blanks.clock = clock
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


async def test_without_saves_to_come_no_stock_is_kept(tmp_path: Path) -> None:
    async with stock(tmp_path, keeps_stock=False) as (blanks, _):
        assert blanks.method is StartMethod.BLANK
        blank = blanks.claim(clean_environ(), JOB, "p1")
        await asyncio.sleep(0.1)  # past REFILL_AFTER_S
        assert blanks.stock == ()
        blanks.give_back(blank)


async def test_the_most_advanced_blank_is_claimed_and_the_stock_refilled(tmp_path: Path) -> None:
    async with stock(tmp_path) as (blanks, _):
        await ready(blanks.stock[1])
        second = blanks.stock[1]
        first = blanks.claim(clean_environ(), JOB, "p1")
        assert first.ready.done()
        await poll(lambda: len(blanks.stock) == STOCK)
        assert first not in blanks.stock
        blanks.give_back(first)
        await poll(lambda: len(blanks.stock) == STOCK)  # and no more
        assert second is first or second in blanks.stock


async def test_the_stock_is_refilled_despite_a_series_of_claims(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "REFILL_AFTER_S", 0.2)
    monkeypatch.setattr(module, "MOST_REFILL_S", 0.3)
    async with stock(tmp_path) as (blanks, _):
        taken = [blanks.claim(clean_environ(), JOB, f"p{number}") for number in range(STOCK)]
        try:
            while not blanks.stock:
                assert len(taken) < 40
                taken.append(blanks.claim(clean_environ(), JOB, f"p{len(taken)}"))
                await ready(*taken)  # while one is awaited, none is started in advance
                await asyncio.sleep(0.05)
        finally:
            for each in taken:
                blanks.give_back(each)


async def test_a_replacement_leaves_the_stock_to_the_next_load_unless_a_job_waits(tmp_path: Path) -> None:
    async with stock(tmp_path) as (blanks, _):
        kept = blanks.stock
        blanks._jobs_wait = lambda: False
        replacement = blanks.claim(clean_environ(), JOB, "p1", for_load=False)
        assert replacement not in kept
        assert blanks.stock == kept
        control, warm = (blanks.claim(clean_environ(), kind, "p2") for kind in (CONTROL, JOB))
        assert {control, warm} == set(kept)
        for each in (replacement, control, warm):
            blanks.give_back(each)
        blanks._jobs_wait = lambda: True
        awaited = blanks.claim(clean_environ(), JOB, "p3", for_load=False)
        assert awaited not in blanks.stock
        assert len(blanks.stock) == 2
        blanks.give_back(awaited)


async def test_no_more_start_at_once_than_there_are_cores(tmp_path: Path) -> None:
    async with stock(tmp_path, cores=1) as (blanks, _):
        assert len(blanks.stock) == 1
        await ready(*blanks.stock)
        await poll(lambda: len(blanks.stock) == STOCK)


async def test_while_a_process_waits_for_its_blank_none_is_started_in_advance(tmp_path: Path) -> None:
    async with stock(tmp_path) as (blanks, _):
        Stock.code = HANGS
        taken = [blanks.claim(clean_environ(), JOB, f"p{number}") for number in range(STOCK + 1)]
        await asyncio.sleep(0.2)
        assert blanks.stock == ()
        Stock.code = READY
        for each in taken:
            blanks.give_back(each)
        await poll(lambda: len(blanks.stock) == STOCK)


async def test_the_stock_is_refilled_beside_a_replacement_that_no_job_waits_for(tmp_path: Path) -> None:
    async with stock(tmp_path) as (blanks, _):
        blanks._jobs_wait = lambda: False
        Stock.code = HANGS
        replacement = blanks.claim(clean_environ(), JOB, "p1", for_load=False)
        Stock.code = READY
        used = blanks.claim(clean_environ(), CONTROL, "c1")
        await used.ready  # it was in stock
        await poll(lambda: len(blanks.stock) == STOCK)
        assert not replacement.ready.done()
        for each in (replacement, used):
            blanks.give_back(each)


async def test_once_killed_none_is_started_in_advance(tmp_path: Path) -> None:
    async with stock(tmp_path) as (blanks, _):
        claimed = blanks.claim(clean_environ(), JOB, "p1")
        blanks.kill("agent-tui is stopping")
        await asyncio.sleep(0.1)  # past REFILL_AFTER_S
        assert blanks.stock == ()
        blanks.give_back(claimed)
        assert blanks.stock == ()


async def test_variables_of_node_decide_whether_a_blank_fits(tmp_path: Path) -> None:
    async with stock(tmp_path) as (blanks, _):
        before = blanks.stock
        taken = blanks.claim({**clean_environ(), "MY_KEY": "x"}, JOB, "p1")
        assert taken in before  # a variable of the agent is set when the blank gets the file
        blanks.give_back(taken)
        other = blanks.claim({**clean_environ(), "NODE_OPTIONS": "--max-old-space-size=512"}, JOB, "p2")
        assert other not in before
        await poll(lambda: not any(alive(each.pid) for each in before))
        blanks.give_back(other)


async def test_preloaded_packages_need_an_equal_environment(tmp_path: Path) -> None:
    async with stock(tmp_path) as (blanks, _):
        blanks.learn(["file:///debug.js"])
        blanks.discard("they import no package")
        await poll(lambda: len(blanks.stock) == STOCK)
        before = blanks.stock
        with_server = {**clean_environ(), "LIVEKIT_URL": "ws://127.0.0.1:7880"}
        taken = blanks.claim(with_server, JOB, "p1")
        assert taken in before  # agent-tui sets it: packages read it when they connect
        blanks.give_back(taken)
        other = blanks.claim({**with_server, "DEBUG": "*"}, JOB, "p2")
        assert other not in before
        blanks.give_back(other)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("package.json", '{"type": "module"}'),
        ("../package.json", "{}"),  # of a workspace
        ("tsconfig.json", "{}"),
        ("node_modules/.package-lock.json", "{}"),  # npm has installed something
        (SDK, '{"version": "1.9.1"}'),
    ],
)
async def test_changed_packages_replace_the_stock_at_the_next_load(
    tmp_path: Path, name: str, content: str
) -> None:
    async with stock(tmp_path / "project") as (blanks, _):
        before = blanks.stock
        write(tmp_path / "project", {name: content})
        os.utime(tmp_path / "project" / name, ns=(1, 1))
        kept = blanks.claim(clean_environ(), JOB, "p1")
        assert kept in before
        taken = blanks.claim(clean_environ(), CONTROL, "c1")
        assert taken not in before
        assert blanks._node.sdk_version == ("1.9.1" if name == SDK else "1.9.0")
        blanks.give_back(kept)
        blanks.give_back(taken)


async def test_without_the_sdk_a_load_says_what_to_do(tmp_path: Path) -> None:
    async with stock(tmp_path) as (blanks, _):
        (tmp_path / SDK).unlink()
        with pytest.raises(OSError, match="which is not installed: run npm install"):
            blanks.claim(clean_environ(), CONTROL, "c1")


async def test_a_blank_that_dies_is_replaced_and_reported(tmp_path: Path) -> None:
    async with stock(tmp_path) as (blanks, events):
        first = blanks.stock[0]
        await ready(first)
        first.process.kill()
        await poll(lambda: states(events, first.id)[-1] == (ProcessState.ENDED, "it exited unexpectedly"))
        await poll(lambda: len(blanks.stock) == STOCK)
        assert first not in blanks.stock


async def test_after_a_death_while_importing_blanks_import_only_the_sdk(tmp_path: Path) -> None:
    async with stock(tmp_path) as (blanks, events):
        blanks.learn(["file:///ends_the_process.js"])
        Stock.code = "raise SystemExit(0)"
        blanks.discard("they import no package")
        await poll(lambda: [] in Stock.preloads[STOCK:])
        why = "it exited unexpectedly"  # the event follows when it is reaped
        await poll(lambda: why in [each.reason for each in events if isinstance(each, ProcessChanged)])


async def test_a_blank_that_never_imports_the_sdk_is_ended(tmp_path: Path) -> None:
    Stock.code = HANGS
    async with stock(tmp_path) as (blanks, events):
        early = blanks.claim(clean_environ(), CONTROL, "c1")
        blanks.give_back(early)
        assert early in blanks.stock
        hung = blanks.claim(clean_environ(), CONTROL, "c2")
        blanks.clock.advance(IMPORT_LIMIT_S)
        blanks.give_back(hung)
        assert hung not in blanks.stock
        why = (ProcessState.ENDED, "importing the SDK took longer than 60 s")
        await poll(lambda: states(events, hung.id)[-1] == why)
        assert not alive(hung.pid)


async def test_a_blank_that_died_while_claimed_is_not_restocked(tmp_path: Path) -> None:
    async with stock(tmp_path) as (blanks, _):
        await ready(*blanks.stock)
        claimed = blanks.claim(clean_environ(), CONTROL, "c1")
        blanks.hand_over(claimed)
        claimed.process.kill()
        blanks.give_back(claimed)
        await poll(lambda: claimed not in blanks.stock)
