"""Loading beside the current generation, the start method, and the switch, over scripted children."""

import asyncio
import dataclasses
from pathlib import Path

import pytest
from msgspec.structs import replace

from agent_tui.generations.generation import Cause, Source, choose
from agent_tui.generations.history import Loaded
from agent_tui.generations.sources import Appeared, Sources
from agent_tui.model import child as ch
from agent_tui.model.clock import SystemClock
from agent_tui.model.events import (
    Event,
    GenerationFailed,
    GenerationOvertaken,
    GenerationReady,
    ProcessChanged,
    StartMethod,
)
from agent_tui.options.envfiles import Environment
from tests.fakes.scripted_child import ScriptedChild, until

from .support import MANIFEST, World, quiet_now, refused, slow, world


async def load(world: World, cause: Cause | None = None) -> bool:
    return (await world.load(cause)).good


def begin(world: World, cause: str = "/a.py", quiet: asyncio.Event | None = None) -> asyncio.Task[Loaded]:
    return asyncio.create_task(world.load(Cause(cause), quiet))


async def cancel(loading: asyncio.Task[Loaded], why: str = "a later save overtook it") -> None:
    loading.cancel(why)
    with pytest.raises(asyncio.CancelledError):
        await loading


async def settled() -> None:
    """Let everything run that can run now."""
    for _ in range(20):
        await asyncio.sleep(0)


def ready(world: World) -> list[GenerationReady]:
    return [event for event in world.events if isinstance(event, GenerationReady)]


def failed(world: World) -> list[GenerationFailed]:
    return [event for event in world.events if isinstance(event, GenerationFailed)]


async def test_the_first_generation_serves_before_its_processes_are_warm() -> None:
    async with world() as w:
        w.script.imports_at_once = False  # job processes wait for the base's warm-up
        assert await load(w)
        assert w.switches == [1]
        assert w.settings.applied == [MANIFEST]
        assert not ready(w)
        w.children(ch.ProcessKind.BASE)[0].say(ch.Imported(("warm",), "", "", ()))
        await until(lambda: w.pool.idle == 1)
        assert [event.generation for event in ready(w)] == [1]


async def test_shared_processes_of_an_old_generation_restart_while_it_is_used() -> None:
    async with world() as w:
        w.script.manifest = replace(MANIFEST, inference_runners=("eot",))
        assert await load(w)
        assert w.loader.current is not None
        plan = w.loader.current.plan
        assert await load(w, Cause("agent.py"))
        await until(lambda: w.children(ch.ProcessKind.CONTROL)[0].exit.done())
        child = await plan.launch(ch.ProcessKind.INFERENCE, "i1.2")
        assert isinstance(child, ScriptedChild)
        assert not w.runtimes[0].closed
        child.end()
        w.inference.keep(lambda generation: generation == 2)
        await until(lambda: w.runtimes[0].closed)


async def test_the_first_generation_serves_while_a_save_is_loaded() -> None:
    async with world() as w:
        w.script.imports_at_once = False
        assert await load(w)
        w.script.broken = ch.Failed("SyntaxError: invalid", "Traceback…", "agent.py", 3)
        assert not await load(w, Cause("agent.py"))
        assert w.loader.current is not None
        assert w.loader.current.number == 1
        assert [event.generation for event in failed(w)] == [2]
        assert not ready(w)
        w.script.broken = None
        third = begin(w)
        await until(lambda: len(w.children(ch.ProcessKind.CONTROL)) == 3)
        w.children(ch.ProcessKind.BASE)[0].say(ch.Imported(("warm",), "", "", ()))
        assert (await third).good
        assert w.switches == [1, 3]
        assert [event.generation for event in ready(w)] == [1, 3]  # reported in order
        await until(lambda: w.pool.idle == 1)


@pytest.mark.parametrize("how", ["stop", "kill"])
async def test_the_first_generation_may_end_before_its_start_method_is_chosen(how: str) -> None:
    async with world() as w:
        w.script.imports_at_once = False
        assert await load(w)
        await until(lambda: w.pool.processes)
        if how == "stop":
            w.loader.stop()
        else:
            w.loader.kill("quit")
        await w.pool.close("quit")  # before the generations: nothing of the pool waits any longer
    assert not ready(w)


async def test_a_load_that_can_no_longer_be_overtaken_says_so() -> None:
    async with world() as w:
        w.settings.apply_gives.clear()
        loading = begin(w, "start")
        await until(lambda: w.loader.is_switching)
        w.settings.apply_gives.set()
        assert (await loading).good
        assert not w.loader.is_switching


async def test_a_save_is_switched_to_once_its_idle_processes_are_warm() -> None:
    async with world(idle=2) as w:
        assert await load(w)
        await until(lambda: w.pool.idle == 2)
        saved = SystemClock().monotonic()
        quiet = asyncio.Event()
        loading = asyncio.create_task(w.load(Cause("/a.py", saved, ("/a.py",), saved), quiet))
        await until(lambda: len(w.children(ch.ProcessKind.JOB)) == 4)
        await settled()
        assert w.switches == [1]  # nothing is switched while saves follow
        assert w.pool.idle == 2
        quiet.set()
        assert (await loading).good
        assert w.switches == [1, 2]
        assert w.pool.idle == 2
        [first, second] = ready(w)
        assert first.seconds is None
        assert second.seconds is not None
        assert (second.cause, second.changed) == ("/a.py", ("/a.py",))
        steps = [name for name, _ in second.steps.measured]
        assert steps == ["seen", "read", "control", "load", "warm", "quiet", "switch"]
        await until(lambda: w.children(ch.ProcessKind.CONTROL)[0].exit.done())
        jobs = w.children(ch.ProcessKind.JOB)
        await until(lambda: all(job.exit.done() for job in jobs[:2]))
        assert not any(job.exit.done() for job in jobs[2:])
        assert w.served == [{"/a.py": b"all of it"}] * 2


async def test_a_save_waits_for_one_process_where_each_takes_a_blank() -> None:
    async with world(idle=3, forks=False) as w:
        w.unforked = StartMethod.BLANK
        assert await load(w)
        await until(lambda: w.pool.idle == 3)
        warm = list[int]()

        def count(event: Event) -> None:
            if isinstance(event, GenerationReady):
                warm.append(len(w.children(ch.ProcessKind.JOB)) - 3)

        w.on_event = count
        assert await load(w, Cause("agent.mjs"))
        assert warm == [1]
        await until(lambda: w.pool.idle == 3)


@pytest.mark.parametrize("what", ["load", "prewarm", "hang", "options"])
async def test_a_failed_load_changes_nothing_and_says_where(what: str) -> None:
    async with world() as w:
        assert await load(w)
        await until(lambda: w.pool.idle == 1)
        good = w.loader.current
        error = ch.Failed("SyntaxError: invalid", "Traceback…", "agent.py", 3)
        match what:
            case "load":
                w.script.broken = error
            case "prewarm":
                w.script.prewarm_fails = error
            case "hang":
                w.script.hangs = True
            case _:
                w.settings.refuse = refused
        assert not await load(w, Cause("agent.py", 0.0))
        assert w.loader.current is good
        assert w.pool.idle == 1
        [event] = failed(w)
        steps = [name for name, _ in event.steps.measured]
        assert steps == ["control", "load", *(["warm"] if what == "prewarm" else [])]
        assert event.cause == "agent.py"
        assert event.seconds is not None
        if what in ("load", "prewarm"):
            assert (event.error, event.file, event.line) == (error.error, "agent.py", 3)
        else:
            assert ("initializeProcessTimeout" if what == "hang" else "agent.py:3") in event.error
        controls = w.children(ch.ProcessKind.CONTROL)
        await until(lambda: controls[1].exit.done())
        assert not controls[0].exit.done()
        w.script.broken = w.script.prewarm_fails = None
        w.script.hangs, w.settings.refuse = False, lambda manifest: None
        assert await load(w)
        assert w.switches == [1, 3]


async def test_a_load_may_fail_because_the_file_has_changed_its_kind() -> None:
    async with world() as w:
        assert await load(w)
        w.script.broken = ch.Failed("LookupError: no entry function", "", None, None)
        w.other_kind = "it is a file of another kind now"
        assert not await load(w, Cause("agent.py"))
        assert not await load(w, Cause("roll back to 1", rolled_back_to=1))
        assert [event.error for event in failed(w)] == [
            "it is a file of another kind now",
            "LookupError: no entry function",
        ]


async def test_a_load_is_stored_before_it_is_reported() -> None:
    async with world() as w:
        newest: list[int] = []

        def note(event: Event) -> None:
            if isinstance(event, (GenerationReady, GenerationFailed)) and w.loader.history.newest:
                newest.append(w.loader.history.newest.number)

        w.on_event = note
        assert await load(w)
        await until(lambda: newest)
        assert await load(w)
        w.settings.refuse = refused
        assert not await load(w)
        assert newest == [1, 2, 3]


async def test_a_failure_is_reported_only_once_no_save_follows() -> None:
    async with world() as w:
        assert await load(w)
        w.script.broken = ch.Failed("SyntaxError: half written", "", None, None)
        quiet = asyncio.Event()
        overtaken, loading = begin(w, quiet=quiet), begin(w, quiet=quiet)
        await until(lambda: all(child.exit.done() for child in w.children(ch.ProcessKind.CONTROL)[1:]))
        await settled()
        assert not failed(w)
        await cancel(overtaken)
        quiet.set()
        assert not (await loading).good
        assert [event.generation for event in failed(w)] == [3]
        assert w.told(GenerationOvertaken) == [GenerationOvertaken(2)]


async def test_an_overtaken_load_leaves_nothing() -> None:
    async with world() as w:
        assert await load(w)
        w.script.hangs = True
        loading = begin(w)
        await until(lambda: len(w.children(ch.ProcessKind.CONTROL)) == 2)
        await cancel(loading)
        w.script.hangs = False
        assert await load(w)
        assert [event.generation for event in ready(w)] == [1, 3]
        await until(lambda: w.children(ch.ProcessKind.CONTROL)[1].exit.done())
        ends = [each.reason for each in w.told(ProcessChanged) if isinstance(each, ProcessChanged)]
        assert "a later save overtook it" in ends


async def test_an_overtaken_load_that_was_warm_leaves_nothing() -> None:
    async with world() as w:
        assert await load(w)
        await until(lambda: w.pool.idle == 1)
        loading = begin(w, quiet=asyncio.Event())
        await until(lambda: len(w.children(ch.ProcessKind.JOB)) == 2)
        await settled()
        await cancel(loading)
        await until(lambda: w.children(ch.ProcessKind.JOB)[1].exit.done())
        assert w.pool.idle == 1
        assert w.switches == [1]
        assert w.told(GenerationOvertaken) == [GenerationOvertaken(2)]


async def test_a_module_that_appears_while_it_is_imported_repeats_the_load(tmp_path: Path) -> None:
    agent, helper = tmp_path / "agent.py", tmp_path / "helper.py"
    agent.write_text("import helper\n")
    sources = Sources(agent, cwd=tmp_path)
    async with world() as w:
        w.script.manifest = replace(MANIFEST, files=(str(agent), str(helper)))
        source = Source(sources.read(), Environment({}, (), ()), sources)
        helper.write_text("x = 1\n")
        with pytest.raises(Appeared):
            await w.loader.load(source, Cause("start"), quiet_now())
        assert w.told(GenerationOvertaken) == [GenerationOvertaken(1)]
        assert not w.switches
        loaded = await w.loader.load(
            dataclasses.replace(source, accept_new=True), Cause("start"), quiet_now()
        )
        assert loaded.good
        assert loaded.snapshot.modules.keys() == {str(agent), str(helper)}


async def test_a_waiting_job_gets_a_process_of_the_new_generation() -> None:
    async with world(idle=0) as w:
        assert await load(w)
        w.script.prepare = lambda child: None  # type: ignore[method-assign]
        lease = w.pool.lease()
        taking = asyncio.create_task(lease.claim())
        nursery_prepare, w.nursery.prepare = w.nursery.prepare, lambda child: None
        await until(lambda: w.children(ch.ProcessKind.JOB))
        w.nursery.prepare = nursery_prepare
        assert await load(w)
        process = await asyncio.wait_for(taking, 5)
        assert process.generation == 2


async def test_a_slow_file_is_loaded_once_in_a_template() -> None:
    async with world() as w:
        w.script.manifest = slow()
        assert await load(w)
        await until(lambda: w.pool.idle == 1)
        assert w.parents == {"c1": ("b1",), "t1": ("b1",), "p1": ("t1", "b1")}
        assert ready(w)[0].start_method is StartMethod.TEMPLATE
        assert ready(w)[0].start_reason == "loading takes 1.0 s; the template does it once"
        # The next one does not wait for the manifest to know that it needs a template.
        loading = begin(w)
        await until(lambda: "t2" in w.parents)
        assert (await loading).good
        await until(lambda: w.children(ch.ProcessKind.TEMPLATE)[0].exit.done())
        assert not w.children(ch.ProcessKind.TEMPLATE)[1].exit.done()


async def test_a_quick_file_needs_no_template_any_more() -> None:
    async with world() as w:
        w.script.manifest = slow()
        assert await load(w)
        w.script.manifest = MANIFEST
        assert await load(w)
        await until(lambda: w.children(ch.ProcessKind.TEMPLATE)[1].exit.done())
        assert [event.start_method for event in ready(w)] == [StartMethod.TEMPLATE, StartMethod.FORK]


async def test_an_unsafe_template_is_not_forked() -> None:
    async with world() as w:
        w.script.manifest, w.script.unsafe = slow(), "2 threads of cygrpc"
        assert await load(w)
        await until(lambda: w.pool.idle == 1)
        assert w.parents["p1"] == ("b1",)
        await until(lambda: w.children(ch.ProcessKind.TEMPLATE)[0].exit.done())
        assert "2 threads of cygrpc" in ready(w)[0].start_reason


async def test_spawn_makes_no_base() -> None:
    async with world(StartMethod.SPAWN) as w:
        assert await load(w)
        await until(lambda: w.pool.idle == 1)
        assert w.parents == {"c1": (), "p1": ()}
        assert not w.children(ch.ProcessKind.BASE)


async def test_processes_are_fresh_where_forking_is_impossible() -> None:
    async with world(forks=False) as w:
        assert await load(w)
        await until(lambda: w.pool.idle == 1)
        assert (ready(w)[0].start_method, ready(w)[0].start_reason) == (StartMethod.SPAWN, "not here")


TEMPLATE, UNSAFE = ch.TemplateReport(80.0, ""), ch.TemplateReport(80.0, "an open socket")


@pytest.mark.parametrize(
    ("wanted", "impossible", "load_ms", "template", "method", "reason"),
    [
        (None, "", 9.2, None, "fork", "loading takes 9 ms"),
        (None, "", 1021.0, TEMPLATE, "template", "loading takes 1.0 s; the template does it once"),
        (
            None,
            "",
            80.0,
            replace(TEMPLATE, drawn=("agent.py:4",)),
            "template",
            "loading takes 80 ms; the template does it once; random values of agent.py:4 are the same in all "
            "jobs",
        ),
        (
            None,
            "",
            80.0,
            UNSAFE,
            "fork",
            "loading leaves an open socket, so each process loads the file; loading ",
        ),
        (
            None,
            "",
            80.0,
            None,
            "fork",
            "the template failed to load, so each process loads the file; loading",
        ),
        (
            StartMethod.TEMPLATE,
            "",
            1.0,
            None,
            "fork",
            "the template failed to load, so each process loads the file; loading takes 1 ms",
        ),
        (None, "no Linux", 80.0, None, "spawn", "no Linux"),
        (StartMethod.SPAWN, "--start-method spawn", 80.0, None, "spawn", "--start-method spawn"),
        (StartMethod.FORK, "", 1021.0, None, "fork", "--start-method fork"),
        (StartMethod.TEMPLATE, "", 1.0, TEMPLATE, "template", "--start-method template"),
        (
            StartMethod.TEMPLATE,
            "",
            1.0,
            UNSAFE,
            "template",
            "--start-method template, although loading leaves",
        ),
        (StartMethod.FORK, "no Linux", 1.0, None, "spawn", "no Linux"),
    ],
)
def test_the_choice_and_its_reason(
    wanted: StartMethod | None,
    impossible: str,
    load_ms: float,
    template: ch.TemplateReport | None,
    method: str,
    reason: str,
) -> None:
    choice = choose(wanted, impossible, load_ms, template)
    assert choice.method == method
    assert choice.reason.startswith(reason)
