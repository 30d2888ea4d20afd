"""The same scenarios with every kind of child: what the pool and the job manager rely on."""

import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from agent_tui.model.child import (
    Child,
    DumpStacks,
    EntryStarted,
    Exiting,
    Failed,
    JobCrashed,
    Loading,
    Manifest,
    Ping,
    Pong,
    ProcessKind,
    Ready,
    Shutdown,
    ShutdownAck,
    ShuttingDown,
    Stacks,
)
from agent_tui.model.events import StartMethod
from agent_tui.processes.stacks import slow_start
from agent_tui.runtimes import kinds
from agent_tui.runtimes.line_child import LineChild
from agent_tui.runtimes.node.child import NodeChild

from ..fakes.node_runtime import launch_node
from ..nodes import nodes, sdks
from ..sdks import ALL_PAIRS, sdk_pythons
from .node.support import host_of
from .support import (
    AGENTS,
    SharedBases,
    Sink,
    ended,
    launched,
    loaded,
    nothing_left,
    poll,
    rest,
    runtime,
    stacks_of,
    start_job,
    started_by,
    until,
)

pytestmark = [pytest.mark.real, pytest.mark.asyncio(loop_scope="module")]

SPAWNED = " spawned"
KINDS = [
    "native",
    "node-shaped",
    *(str(path) for path in sdk_pythons()),
    *(f"{path}{SPAWNED}" for path in sdk_pythons() if ALL_PAIRS),
    *(["agents-js"] if nodes() and sdks() else []),
]
FILES = {
    "native": {
        "waits": "native_contract.py",
        "prewarm fails": "native_prewarm_fails.py",
        "prewarm hangs": "native_prewarm_hangs.py",
    },
    "livekit-agents": {
        "waits": "sdk_waits.py",
        "prewarm fails": "sdk_prewarm_fails.py",
        "prewarm hangs": "sdk_prewarm_hangs.py",
    },
    "agents-js": {
        "waits": "js_waits.mjs",
        "prewarm fails": "js_prewarm_fails.mjs",
        "prewarm hangs": "js_prewarm_hangs.mjs",
    },
}
HANGS_AT = {
    "native": "native_prewarm_hangs.py:7 in prewarm",
    "livekit-agents": "sdk_prewarm_hangs.py:9 in load_model",
    "agents-js": "js_prewarm_hangs.mjs:4 in loadModel",
}
functions: dict[tuple[str, str], str] = {}


async def test_no_kind_of_agent_file_is_forgotten() -> None:
    assert set(FILES) == set(kinds.KINDS)


async def functions_of(python: str, file: str) -> str:
    """Return what the control process of that file packed; computed once."""
    if (python, file) not in functions:
        run = runtime(AGENTS / file, Sink(), "livekit-agents", Path(python))
        async with launched(run, ProcessKind.CONTROL) as child:
            manifest = await loaded(child)
            assert isinstance(manifest, Manifest)
            functions[python, file] = manifest.functions
    return functions[python, file]


@asynccontextmanager
async def child_of(
    kind: str, behaviour: str, sink: Sink, bases: SharedBases, *, spawned: bool = False
) -> AsyncIterator[Child]:
    """Start a child of that kind that behaves like this; with an SDK for Python, a fork unless `spawned`."""
    file = behaviour if behaviour.startswith("prewarm") else "waits"
    child: Child
    if kind == "node-shaped":
        async with nothing_left() as children:
            child = await launch_node(behaviour, sink)
            children.append(child)
            yield child
    elif kind == "agents-js":
        name = FILES[kind][file]
        with tempfile.TemporaryDirectory() as folder:
            code = {name: (AGENTS / name).read_text()}
            async with host_of(Path(folder), name, code) as host:
                host.sink = sink
                yield await host.launch()
    elif kind == "native":
        async with launched(runtime(AGENTS / FILES["native"][file], sink)) as child:
            yield child
    else:
        name = FILES["livekit-agents"][file]
        python = kind.removesuffix(SPAWNED)
        run = runtime(AGENTS / name, sink, "livekit-agents", Path(python))
        base = await bases.get(Path(python))
        with started_by(StartMethod.FORK, base):
            packed = await functions_of(python, name)
        method = StartMethod.SPAWN if spawned or kind.endswith(SPAWNED) else StartMethod.FORK
        with started_by(method, base):
            async with launched(run, ProcessKind.JOB, packed) as child:
                yield child


@pytest.fixture(params=KINDS, ids=lambda kind: kind.replace("/bin/python", "").rpartition("/")[2])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


async def test_ready_ping_job_shutdown_exit(kind: str, bases: SharedBases) -> None:
    sink = Sink()
    async with child_of(kind, "waits", sink, bases, spawned=True) as child:
        first = await child.receive()
        if child.traits.reports_loading:
            assert first == Loading()
            first = await child.receive()
        assert first == Ready()
        child.send(Ping(41))
        child.send(Ping(42))
        assert [await child.receive(), await child.receive()] == [Pong(41), Pong(42)]
        if child.traits.stacks:
            child.send(DumpStacks())
            assert (await until(child, Stacks)).text
        child.send(start_job("salon"))
        await poll(lambda: sink.printed() == ["entered salon"])
        child.send(Ping(43))
        await until(child, Pong)
        child.send(Shutdown("enough"))
        told = await rest(child)
        assert told[0] == ShutdownAck()
        exiting = Exiting("enough")
        assert exiting in told
        assert ShuttingDown() in told
        assert not [each for each in told if isinstance(each, (JobCrashed, EntryStarted))]
        assert (await ended(child)).exit_code == 0
        sink.join()


async def test_idle_shutdown(kind: str, bases: SharedBases) -> None:
    async with child_of(kind, "waits", Sink(), bases) as child:
        await until(child, Ready)
        child.send(Shutdown("enough"))
        assert await rest(child) == [ShutdownAck(), ShuttingDown()]
        assert (await ended(child)).exit_code == 0


async def test_a_crash_is_reported_before_the_end(kind: str, bases: SharedBases) -> None:
    sink = Sink()
    async with child_of(kind, "raises", sink, bases) as child:
        await until(child, Ready)
        child.send(start_job("raises"))
        crash = await until(child, JobCrashed)
        assert crash.error
        if kind == "agents-js":
            assert crash.error == "Error: asked to"
            assert "/js_waits.mjs:5:" in crash.traceback
        crashed = Exiting("job crashed")
        assert crashed in await rest(child)
        assert (await ended(child)).exit_code == 0


async def test_a_failing_prewarm_is_never_ready(kind: str, bases: SharedBases) -> None:
    async with child_of(kind, "prewarm fails", Sink(), bases) as child:
        told = await rest(child)
        assert Ready() not in told
        assert [each for each in told if isinstance(each, Failed)] or not child.traits.reports_loading
        await ended(child)


async def test_the_stacks_of_a_hanging_prewarm_name_its_line(kind: str, bases: SharedBases) -> None:
    if kind == "node-shaped":
        return  # a runtime without stacks
    sink = Sink()
    async with child_of(kind, "prewarm hangs", sink, bases) as child:
        assert await child.receive() == Loading()
        if kind == "agents-js":  # each answer takes its CPU while the SDK is still on its way to prewarm
            await poll(lambda: sink.printed() == ["loading the model"])
        hangs_at = HANGS_AT.get(kind, HANGS_AT["livekit-agents"])
        text = await stacks_of(child, hangs_at)
        assert slow_start(text, 10.0, is_job=True) == (
            f"prewarm still running after 10 s at {hangs_at} (initializeProcessTimeout)"
        )
        child.kill()
        assert (await ended(child)).signal == 9


async def test_the_channel_ends_with_a_killed_child(kind: str, bases: SharedBases) -> None:
    async with child_of(kind, "waits", Sink(), bases) as child:
        await until(child, Ready)
        child.kill()
        assert await rest(child) == []
        assert await child.receive() is None
        assert (await ended(child)).signal == 9
        child.send(Ping(1))
        child.kill()


async def test_the_end_of_the_host_ends_the_child(kind: str, bases: SharedBases) -> None:
    sink = Sink()
    if kind == "node-shaped":  # the end of its channel alone does not stop it: missing pings do
        async with nothing_left() as children:
            lonely = await launch_node("waits", sink, orphan_s=0.3)
            children.append(lonely)
            await until(lonely, Ready)
            assert (await ended(lonely)).exit_code == 0
        return
    async with child_of(kind, "waits", sink, bases) as child:
        await until(child, Ready)
        child.send(start_job("salon"))
        await poll(lambda: sink.printed())
        if isinstance(child, NodeChild):
            lines = child._lines.result()
            assert lines is not None
            lines._close()
            # The SDK's main ends gracefully, and not 15 s later, without callbacks (agents-js.md §13, F1).
            assert (await ended(child)).exit_code == 0
            sink.join()
            assert sink.printed()[-1] == "called back"
        else:
            assert isinstance(child, LineChild)
            child._close()
            assert (
                await ended(child)
            ).signal == 9  # it kills its own group, so that nothing it started is left
        sink.join()
