"""What a reload does with running jobs, pins, and swaps on request."""

from typing import Any, cast

import pytest
from msgspec import structs

from agent_tui.jobs.record import TestDispatch
from agent_tui.jobs.swaps import JobSwaps, changed_places
from agent_tui.model import child as ch
from agent_tui.model import events as ev
from agent_tui.model import session_events as se
from agent_tui.model.errors import UserError
from agent_tui.processes.pool import Plan
from tests.fakes.scripted_child import ScriptedChild, until
from tests.jobs.support import Bench, bench_of
from tests.jobs.test_restart import restarted, starts

AGENT = "/project/agent.py"


class Reloads:
    """Reloads under a policy that can change."""

    def __init__(self, bench: Bench, policy: ev.OnReload = ev.OnReload.SWAP) -> None:
        self.bench, self.policy = bench, policy
        self.swaps = JobSwaps(
            bench.manager, policy=lambda: self.policy, agent=AGENT, emit=bench.events.append
        )
        self.swaps.switched(1, {AGENT: b"a\nb 1\nc", "/project/same.py": b""}, {}, {1})

    def switch(self, number: int, **environment: str) -> None:
        self.bench.pool.use(Plan(number, self.bench.nursery))
        self.bench.generation = number
        self.bench.manager.switched(cast("Any", self.bench))
        modules = {AGENT: f"a\nb {number}\nc".encode(), "/project/same.py": b""}
        self.swaps.switched(number, modules, environment, {1})


async def talking(bench: Bench) -> ScriptedChild:
    """Run a job whose child can swap, with an open session."""
    child = await bench.run_job()
    child.traits = structs.replace(child.traits, swaps=True)
    child.say(ch.SessionStarted(1, "talker", True))
    await until(lambda: bench.told(se.SessionStarted))
    return child


async def swapped(bench: Bench, child: ScriptedChild, generation: int) -> Any:
    before = len(bench.told(se.Swapped))
    child.say(ch.Swapped(1, generation, se.SwapReach.ALL, (), 0.5))
    await until(lambda: len(bench.told(se.Swapped)) > before)
    return bench.told(se.Swapped)[-1]


@pytest.mark.parametrize("policy", list(ev.OnReload))
async def test_running_jobs_follow_the_reload_policy(policy: ev.OnReload) -> None:
    async with bench_of() as bench:
        old, reloads = await bench.run_job(), Reloads(bench, policy)
        for generation in (2, 3, 4):  # saves in quick succession
            reloads.switch(generation)
        match policy:
            case ev.OnReload.KEEP | ev.OnReload.SWAP:  # there is no session to swap
                assert not old.told(ch.Shutdown)
                assert len(starts(bench)) == 1
            case ev.OnReload.RESTART:
                await restarted(bench)
                assert len(bench.told(ev.JobRestarting)) == 1
                assert bench.told(ev.JobStarted)[1].generation == 4
            case ev.OnReload.END:
                end = await bench.ended()
                assert end.status == "terminated"
                assert end.reason == "--on-reload end: generation 2 took over"


async def test_swap_sends_what_differs_from_the_processs_own_generation() -> None:
    async with bench_of() as bench:
        child, reloads = await talking(bench), Reloads(bench)
        traits, child.traits = child.traits, structs.replace(child.traits, swaps=False)
        reloads.switch(2)
        assert not child.told(ch.SwapCode)  # a child that cannot do that
        child.traits = traits
        reloads.switch(3)
        assert child.told(ch.SwapCode) == [ch.SwapCode(3, {AGENT: b"a\nb 3\nc"})]
        event = await swapped(bench, child, 3)
        assert (event.from_generation, event.changed) == (1, ("agent.py:2",))
        reloads.switch(4)
        event = await swapped(bench, child, 4)
        assert (event.from_generation, event.changed) == (3, ("agent.py:2",))
        assert not child.told(ch.Shutdown)


@pytest.mark.parametrize("policy", [ev.OnReload.SWAP, ev.OnReload.RESTART, ev.OnReload.END])
async def test_a_pinned_job_keeps_its_code_until_it_is_unpinned(policy: ev.OnReload) -> None:
    async with bench_of() as bench:
        child, reloads = await talking(bench), Reloads(bench, policy)
        assert reloads.swaps.pin("AJ_1", pinned=True) == (
            "job AJ_1 is pinned to generation 1: reloads do not change it"
        )
        reloads.swaps.pin("AJ_1", pinned=True)
        assert bench.told(ev.JobPinned) == [ev.JobPinned("AJ_1", "demo", 1, pinned=True)]
        reloads.switch(2)
        assert not child.told(ch.SwapCode)
        assert not child.told(ch.Shutdown)
        reloads.swaps.pin("AJ_1", pinned=False)
        assert bench.told(ev.JobPinned)[-1].pinned is False
        reloads.switch(3)
        await until(lambda: child.told(ch.SwapCode) or child.told(ch.Shutdown))


async def test_a_pin_cancels_a_swap_that_waits() -> None:
    async with bench_of() as bench:
        child, reloads = await talking(bench), Reloads(bench)
        reloads.switch(2)
        child.say(ch.SwapWaits(1, 2, "find_rooms"))
        await until(lambda: bench.told(se.SwapWaiting))
        reloads.swaps.pin("AJ_1", pinned=True)
        assert child.told(ch.SwapCode)[-1] == ch.SwapCode(0, {})
        assert bench.told(se.SwapWaiting)[-1] == se.SwapWaiting("AJ_1", 1, 0, 0, "")


async def test_the_end_of_a_job_cancels_a_swap_that_waits() -> None:
    async with bench_of() as bench:
        child, reloads = await talking(bench), Reloads(bench)
        reloads.switch(2)
        child.say(ch.SwapWaits(1, 2, "find_rooms"))
        await until(lambda: bench.told(se.SwapWaiting))
        bench.manager.end("AJ_1", ev.JobStatus.TERMINATED, "by the user")
        assert bench.told(se.SwapWaiting)[-1] == se.SwapWaiting("AJ_1", 1, 0, 0, "")
        await until(lambda: child.told(ch.Shutdown))
        assert [type(each) for each in child.sent[-2:]] == [ch.SwapCode, ch.Shutdown]


async def test_a_swap_on_request() -> None:
    async with bench_of() as bench:
        child, reloads = await talking(bench), Reloads(bench, ev.OnReload.KEEP)
        with pytest.raises(UserError, match="job AJ_1 already runs generation 1"):
            reloads.swaps.swap("AJ_1")
        reloads.switch(2)
        assert not child.told(ch.SwapCode)
        reloads.swaps.pin("AJ_1", pinned=True)
        assert reloads.swaps.swap("AJ_1") == "swapping job AJ_1 to generation 2"
        await swapped(bench, child, 2)
        assert bench.manager.records[0].pinned  # to the code that it has now
        with pytest.raises(UserError, match="already runs generation 2"):
            reloads.swaps.swap("AJ_1")
        with pytest.raises(UserError, match="no job AJ_2 is running"):
            reloads.swaps.swap("AJ_2")


async def test_why_a_job_cannot_swap() -> None:
    async with bench_of() as bench:
        child, reloads = await bench.run_job(), Reloads(bench, ev.OnReload.KEEP)
        reloads.switch(2)
        with pytest.raises(UserError, match="its process cannot swap code; restart it"):
            reloads.swaps.swap("AJ_1")
        child.traits = structs.replace(child.traits, swaps=True)
        with pytest.raises(UserError, match="it has no open session; restart it"):
            reloads.swaps.swap("AJ_1")


async def test_jobs_of_a_test_load_stay_on_the_code_that_is_measured() -> None:
    async with bench_of() as bench:
        test = TestDispatch(1, "demo", 0.0, test_load=True)
        child, reloads = await bench.run_job(test=test), Reloads(bench, ev.OnReload.END)
        reloads.switch(2)
        assert not child.told(ch.Shutdown)


async def test_a_swap_notes_that_the_process_keeps_its_environment() -> None:
    async with bench_of() as bench:
        child = await talking(bench)
        reloads = Reloads(bench)
        environments: tuple[dict[str, str], ...] = (
            {"A_KEY": "x"},
            {},
            {"A_KEY": "y", "B": "", "C": "", "D": ""},
        )
        for number, environment in enumerate(environments, 2):
            reloads.switch(number, **environment)
            child.say(ch.Swapped(1, number, se.SwapReach.ALL, (), 0.5))
            await until(lambda: len(bench.told(se.Swapped)) == reloads.bench.generation - 1)
        reloads.switch(5, A_KEY="x")
        child.say(ch.Swapped(1, 5, se.SwapReach.NONE, ("why",), 0.5))
        await until(lambda: len(bench.told(se.Swapped)) == 4)
        assert [each.notes for each in bench.told(se.Swapped)] == [
            ("environment (A_KEY)",),
            (),
            ("environment (A_KEY, B, C, 1 more)",),
            ("why",),
        ]


def test_changed_places_name_the_agents_file_first() -> None:
    before = {AGENT: b"a\nb", "/project/a.py": b"x\ny\n", "/lib/z.py": b"", "/project/gone.py": b"1"}
    now = {AGENT: b"a", "/project/a.py": b"x\nz\n", "/lib/z.py": b"1", "/project/b.py": b""}
    assert changed_places(before, now, AGENT) == ("agent.py:1", "/lib/z.py:1", "a.py:2", "2 more")
    assert changed_places(now, now, AGENT) == ()
