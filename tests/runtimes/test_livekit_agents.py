"""Real children with real SDKs: every version that `AGENT_TUI_SDK_PYTHONS` names."""

import asyncio
import math
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from agent_tui.model.child import (
    AcceptArguments,
    AcceptOutcome,
    ActiveJob,
    AskLoad,
    AskRequest,
    DumpStacks,
    EntryStarted,
    Exiting,
    Failed,
    InferenceRequest,
    InferenceResponse,
    JobConnected,
    JobCrashed,
    LoadAnswer,
    Loading,
    Manifest,
    MemoryMeasure,
    Ping,
    Pong,
    ProcessKind,
    Ready,
    RequestAnswer,
    SetInCode,
    Shutdown,
    ShutdownAck,
    ShuttingDown,
    Stacks,
    WorkerLive,
)
from agent_tui.model.events import StartMethod
from agent_tui.runtimes.forks import ForkServer

from ..sdks import FORKING, METHODS_IN_TURN, each_sdk_with
from .support import (
    AGENTS,
    SharedBases,
    Sink,
    alive,
    ended,
    launch,
    launched,
    loaded,
    make_job,
    nothing_left,
    parents_of,
    poll,
    ready,
    rest,
    runtime,
    start_job,
    started_by,
    until,
)

pytestmark = [
    pytest.mark.real,
    pytest.mark.asyncio(loop_scope="module"),
    each_sdk_with("method", METHODS_IN_TURN),
]
SDK = "livekit-agents"


@pytest.fixture
def sink() -> Sink:
    return Sink()


@pytest_asyncio.fixture(loop_scope="module")
async def base(sdk_python: Path, bases: SharedBases) -> ForkServer:
    return await bases.get(sdk_python)


@pytest.fixture(autouse=True)
def _start_method(method: StartMethod, base: ForkServer) -> Iterator[None]:
    with started_by(method, base):
        yield


MANIFESTS: dict[tuple[str, Path], Manifest] = {}
"""Of the files and Pythons so far."""


async def manifest_of(name: str, sink: Sink, python: Path, base: ForkServer) -> Manifest:
    """Return the manifest of a file, perhaps from an earlier test."""
    if (name, python) not in MANIFESTS:
        run = runtime(AGENTS / name, sink, SDK, python)
        with started_by(StartMethod.FORK, base):
            async with launched(run, ProcessKind.CONTROL) as child:
                manifest = await loaded(child)
        assert isinstance(manifest, Manifest), manifest
        MANIFESTS[name, python] = manifest
    return MANIFESTS[name, python]


STYLES = {
    "sdk_server.py": {
        "agentName": "sdk-agent",
        "loadThreshold": math.inf,
        "requestFunc": "on_request",
        "loadFunc": "load",
        "numIdleProcesses": {"$modes": [3, 9]},
        "shutdownProcessTimeout": 5500,
        "permissions": {
            "canPublish": True,
            "canSubscribe": True,
            "canPublishData": True,
            "canUpdateMetadata": True,
            "canPublishSources": [],
            "hidden": True,
        },
    },
    "sdk_options.py": {
        "agentName": "options-agent",
        "serverType": "publisher",
        "jobMemoryWarnMB": 300,
        "drainTimeout": 60_000,
        "logLevel": "warn",
    },
    "sdk_unguarded.py": {},
    "sdk_factory.py": {"agentName": "factory", "maxRetry": 2},
    "sdk_run.py": {"agentName": "runs", "host": "127.0.0.1"},
}


@pytest.mark.parametrize("name", STYLES)
@each_sdk_with("method", METHODS_IN_TURN, in_turn=FORKING)
async def test_each_style_is_captured_and_its_job_runs(
    name: str, sink: Sink, sdk_python: Path, base: ForkServer
) -> None:
    manifest = await manifest_of(name, sink, sdk_python, base)
    assert {key: each.value for key, each in manifest.options.items()} == STYLES[name]
    assert all(each.where.startswith(f"{name}:") for each in manifest.options.values())
    assert manifest.has_entry
    assert manifest.files == (str(AGENTS / name),)
    assert manifest.functions.startswith("guard:" if name == "sdk_factory.py" else "pickle:")
    async with ready(runtime(AGENTS / name, sink, SDK, sdk_python), manifest.functions) as child:
        child.send(start_job("salon"))
        told = await rest(child)
        assert (await ended(child)).exit_code == 0
        sink.join()
    kinds = [type(each) for each in told]
    assert kinds[0] is EntryStarted
    assert set(kinds[1:]) - {JobConnected} == {ShuttingDown, Exiting}
    assert (JobConnected in kinds) == (name == "sdk_server.py")  # the one that joins its room
    done = Exiting("done")
    assert done in told
    wanted = "__main__" if name == "sdk_factory.py" else "__mp_main__"
    if name != "sdk_options.py":
        assert any(line.startswith("hello") and line.endswith(wanted) for line in sink.printed())


async def test_where_an_option_was_set(sink: Sink, sdk_python: Path, base: ForkServer) -> None:
    manifest = await manifest_of("sdk_server.py", sink, sdk_python, base)
    lines = (AGENTS / "sdk_server.py").read_text().splitlines()
    called = lines.index("server = AgentServer(") + 1
    assert manifest.options["loadThreshold"] == SetInCode(math.inf, f"sdk_server.py:{called}")
    assert (manifest.has_prewarm, manifest.has_request_func, manifest.has_load_func) == (True, True, True)
    assert (manifest.sdk_version or "").count(".") == 2


@each_sdk_with("method", METHODS_IN_TURN, in_turn=FORKING)
async def test_a_job_with_its_records(sink: Sink, sdk_python: Path, base: ForkServer) -> None:
    run = runtime(AGENTS / "sdk_server.py", sink, SDK, sdk_python)
    manifest = await manifest_of("sdk_server.py", sink, sdk_python, base)
    async with launched(run, ProcessKind.JOB, manifest.functions) as child:
        assert child.traits.memory is MemoryMeasure.PSS
        assert await child.receive() == Loading()
        assert await child.receive() == Ready()
        child.send(Ping(2**40))
        assert await child.receive() == Pong(2**40)
        child.send(start_job("salon"))
        await rest(child)
        assert (await ended(child)).exit_code == 0
        sink.join()
    assert sink.printed() == ["hello salon True __mp_main__", "callback done"]
    [(_, _, fields)] = sink.logged("in entry")
    assert fields.items() >= {"answer": 42, "job_id": "AJ_1", "room": "salon", "_logger": "sdk"}.items()
    assert not sink.logged("may prevent the process from exiting")
    assert not [line for line in sink.printed("stderr") if "in entry" in line]


@each_sdk_with("method", METHODS_IN_TURN, in_turn=FORKING)
async def test_a_raising_entry(sink: Sink, sdk_python: Path, base: ForkServer) -> None:
    manifest = await manifest_of("sdk_options.py", sink, sdk_python, base)
    run = runtime(AGENTS / "sdk_options.py", sink, SDK, sdk_python)
    async with ready(run, manifest.functions) as child:
        child.send(start_job("raise"))
        crash = await until(child, JobCrashed)
        assert crash.error == "ValueError: no idea what to do"
        assert "sdk_options.py" in crash.traceback
        crashed = Exiting("job crashed")
        assert crashed in await rest(child)
        assert (await ended(child)).exit_code == 0
        sink.join()
    assert len(sink.logged("entered raise")) == 1
    assert not sink.printed("stderr")
    assert "no idea what to do" in sink.logged("unhandled exception")[0][1]


@each_sdk_with("method", METHODS_IN_TURN, in_turn=FORKING)
async def test_a_job_that_is_asked_to_end_and_its_children(
    sink: Sink, sdk_python: Path, base: ForkServer
) -> None:
    manifest = await manifest_of("sdk_options.py", sink, sdk_python, base)
    run = runtime(AGENTS / "sdk_options.py", sink, SDK, sdk_python)
    async with nothing_left() as children:
        parents = await parents_of(run, children, ProcessKind.JOB)
        jobs = [
            await run.launch(ProcessKind.JOB, f"p{number}", manifest.functions, parents)
            for number in range(4)
        ]
        children += jobs
        await asyncio.gather(*(until(child, Ready) for child in jobs))
        idle, busy, blocked, leaving = jobs
        idle.send(Shutdown("enough"))
        assert await rest(idle) == [ShutdownAck(), ShuttingDown()]
        assert (await ended(idle)).exit_code == 0
        leaving.send(start_job("exit"))
        assert (await until(leaving, JobCrashed)).error == "SystemExit: 3"
        await ended(leaving)
        blocked.send(start_job("block"))
        await poll(lambda: sink.logged("entered block"))
        blocked.send(DumpStacks())
        assert "sdk_options.py" in (await until(blocked, Stacks)).text
        blocked.kill()
        assert (await ended(blocked)).signal == signal.SIGKILL
        busy.send(start_job("grandchild"))
        await poll(lambda: sink.printed())
        grandchild = int(sink.printed()[0].split()[1])
        busy.send(Shutdown("enough"))
        assert await until(busy, ShutdownAck)
        busy.kill()
        await ended(busy)
        await poll(lambda: not alive(grandchild), 5)


@pytest.mark.parametrize(
    ("name", "error"),
    [
        ("sdk_no_entry.py", "has no entry function"),
        ("native_short.py", "starts no worker"),
        ("raises_at_import.py", "KeyError: 'missing'"),
    ],
)
async def test_a_file_without_server_or_entry_function(
    name: str, error: str, sink: Sink, sdk_python: Path
) -> None:
    async with launched(runtime(AGENTS / name, sink, SDK, sdk_python), ProcessKind.CONTROL) as child:
        failed = await loaded(child)
        assert isinstance(failed, Failed)
        assert error in failed.error
        assert (await ended(child)).exit_code == 1


async def test_a_prewarm_that_raises_without_a_message(
    sink: Sink, sdk_python: Path, base: ForkServer
) -> None:
    manifest = await manifest_of("sdk_prewarm_fails.py", sink, sdk_python, base)
    run = runtime(AGENTS / "sdk_prewarm_fails.py", sink, SDK, sdk_python)
    async with launched(run, ProcessKind.JOB, manifest.functions) as child:
        failed = await until(child, Ready, Failed)
        assert isinstance(failed, Failed)
        assert failed.error == "RuntimeError"
        assert (Path(failed.file or "").name, failed.line) == ("sdk_prewarm_fails.py", 7)
        assert await rest(child) == []
        assert (await ended(child)).exit_code == 1


async def test_request_and_load_functions(sink: Sink, sdk_python: Path) -> None:
    run = runtime(AGENTS / "sdk_server.py", sink, SDK, sdk_python)
    async with launched(run, ProcessKind.CONTROL) as child:
        await loaded(child)
        active = ActiveJob(make_job(), AcceptArguments("ann"), "ws://h", "t", "AW_7")
        child.send(WorkerLive("AW_7", (active, active, active), False))
        child.send(AskLoad(1))
        assert await child.receive() == LoadAnswer(1, 0.3)
        child.send(AskRequest(make_job("hang", "AJ_hang"), "AJ_hang"))
        answers = {}
        for room in ("reject", "reject-kindly", "raise", "silent", "twice", "salon"):
            child.send(AskRequest(make_job(room, f"AJ_{room}"), f"AJ_{room}"))
            answers[room] = await until(child, RequestAnswer)
        stamped = {"lk.agent.name": "registered", "mood": "good"}
        assert answers["salon"] == RequestAnswer("AJ_salon", AcceptArguments("ann", "Ann", "AW_7", stamped))
        assert answers["reject"] == RequestAnswer("AJ_reject", None, True)
        assert answers["reject-kindly"] == RequestAnswer("AJ_reject-kindly", None, False)
        assert answers["raise"].error == "KeyError: 'what room'"
        assert "without accepting or rejecting" in (answers["silent"].error or "")
        child.send(AcceptOutcome("AJ_twice"))
        await poll(lambda: sink.logged("AssignmentTimeoutError"))
        child.send(WorkerLive("AW_7", (), True))
        child.send(AskLoad(2))
        assert await child.receive() == LoadAnswer(2, None, "RuntimeError: no load while draining")


async def test_without_a_request_function_the_sdks_defaults_are_given(sink: Sink, sdk_python: Path) -> None:
    run = runtime(AGENTS / "sdk_unguarded.py", sink, SDK, sdk_python)
    async with launched(run, ProcessKind.CONTROL) as child:
        manifest = await loaded(child)
        assert isinstance(manifest, Manifest)
        own = (manifest.has_request_func, manifest.has_load_func, manifest.has_prewarm)
        assert own == (False, False, False)
        child.send(AskRequest(make_job(), "AJ_1"))
        expected = AcceptArguments("agent-AJ_1", attributes={"lk.agent.name": "registered"})
        assert await until(child, RequestAnswer) == RequestAnswer("AJ_1", expected)


async def test_the_example_runs(sink: Sink, sdk_python: Path) -> None:
    file = AGENTS.parents[1] / "examples" / "livekit_agent.py"
    async with launched(runtime(file, sink, SDK, sdk_python), ProcessKind.CONTROL) as child:
        manifest = await loaded(child)
        assert isinstance(manifest, Manifest)
        assert (manifest.has_prewarm, manifest.has_request_func) == (True, True)
    async with ready(runtime(file, sink, SDK, sdk_python), manifest.functions) as child:
        child.send(start_job("salon"))
        told = await rest(child)
        assert not [each for each in told if isinstance(each, JobCrashed)]
        assert (await ended(child)).exit_code == 0
    assert sink.logged("Hello, room salon")
    assert sink.logged("goodbye: call finished")


@each_sdk_with("method", METHODS_IN_TURN, in_turn=FORKING)
async def test_inference(sink: Sink, sdk_python: Path, base: ForkServer) -> None:
    manifest = await manifest_of("sdk_runner.py", sink, sdk_python, base)
    assert manifest.inference_runners == ("double",)
    run = runtime(AGENTS / "sdk_runner.py", sink, SDK, sdk_python)
    async with nothing_left() as children:
        inference = await launch(run, children, ProcessKind.INFERENCE, "p1", manifest.functions)
        job = await launch(run, children, ProcessKind.JOB, "p2", manifest.functions)
        await asyncio.gather(until(inference, Ready), until(job, Ready))
        job.send(start_job())
        request = await until(job, InferenceRequest)
        assert (request.method, request.data) == ("double", b"ab")
        inference.send(request)
        response = await until(inference, InferenceResponse)
        assert response == InferenceResponse(request.request_id, b"abab", "")
        inference.send(InferenceRequest("r2", "double", b"bad"))
        failed = await until(inference, InferenceResponse)
        assert (failed.data, failed.error) == (None, "cannot double bad")
        job.send(response)
        await rest(job)
        await ended(job)
        inference.send(Shutdown("enough"))
        assert await rest(inference) == [ShutdownAck(), ShuttingDown(), Exiting("enough")]
        assert (await ended(inference)).exit_code == 0
        sink.join()
    assert sink.printed() == ["doubled b'abab'"]


async def test_a_starter_project_without_media_meets_a_stand_in_participant(
    sink: Sink, sdk_python: Path, base: ForkServer
) -> None:
    manifest = await manifest_of("sdk_starter.py", sink, sdk_python, base)
    run = runtime(AGENTS / "sdk_starter.py", sink, SDK, sdk_python)
    async with launched(run, ProcessKind.JOB, manifest.functions) as child:
        await until(child, Ready)
        child.send(start_job())
        await rest(child)
        assert (await ended(child)).exit_code == 0
        sink.join()
    caller = '["mock_user", "", "free", {}, ["mock_user"]]'
    assert sink.printed() == [caller, "You said: Hello, mock_user"]
