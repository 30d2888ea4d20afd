"""Real native children."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from agent_tui.model.child import (
    AcceptArguments,
    AcceptOutcome,
    ActiveJob,
    AskLoad,
    AskRequest,
    Debugging,
    DumpStacks,
    EntryStarted,
    Exiting,
    Failed,
    JobCrashed,
    LoadAnswer,
    Loading,
    Manifest,
    Ping,
    Pong,
    ProcessKind,
    Ready,
    RequestAnswer,
    Shutdown,
    ShutdownAck,
    ShuttingDown,
    Stacks,
    WorkerLive,
)
from agent_tui.model.events import StartMethod
from agent_tui.model.logs import LogLevel
from agent_tui.runtimes.python import Modules

from ..limits import PATIENCE_S
from .support import (
    AGENTS,
    Sink,
    alive,
    ended,
    launched,
    loaded,
    make_job,
    nothing_left,
    parents_of,
    poll,
    ready,
    rest,
    runtime,
    stacks_of,
    start_job,
    until,
)

pytestmark = [pytest.mark.real, pytest.mark.usefixtures("each_start_method")]


@pytest.fixture
def sink() -> Sink:
    return Sink()


async def test_a_job_from_load_to_exit(sink: Sink) -> None:
    async with launched(runtime(AGENTS / "native_short.py", sink)) as child:
        assert [type(await child.receive()) for _ in range(2)] == [Loading, Ready]
        child.send(Ping(12))
        assert await child.receive() == Pong(12)
        before = time.time()
        child.send(start_job("salon"))
        entered = await until(child, EntryStarted)
        assert before <= entered.at <= time.time()
        assert [type(each) for each in await rest(child)] == [Exiting, ShuttingDown]
        assert (await ended(child)).exit_code == 0
        assert await child.receive() is None
        sink.join()
    assert sink.printed() == ["hello salon True servus", "callback done"]
    [(level, _, fields)] = sink.logged("in entry of AJ_1")
    assert level is LogLevel.INFO
    assert fields.items() >= {"answer": 42, "job_id": "AJ_1", "room": "salon", "_logger": "short"}.items()
    assert sink.logged("leaving")[0][2]["call"] == "one"


async def test_a_job_that_is_asked_to_end(sink: Sink) -> None:
    async with ready(runtime(AGENTS / "native_waits.py", sink)) as child:
        child.send(start_job())
        await until(child, EntryStarted)
        child.send(Shutdown("enough"))
        assert await child.receive() == ShutdownAck()
        assert await rest(child) == [Exiting("enough"), ShuttingDown()]
        assert (await ended(child)).exit_code == 0
        sink.join()
    assert sink.printed() == ["waiting", "slow callback"]
    assert "callback broke" in sink.logged("a shutdown callback failed")[0][1]


async def test_an_idle_process_that_is_asked_to_end(sink: Sink) -> None:
    async with ready(runtime(AGENTS / "native_waits.py", sink)) as child:
        child.send(Shutdown("enough"))
        assert await rest(child) == [ShutdownAck(), ShuttingDown()]
        assert (await ended(child)).exit_code == 0


async def test_a_raising_entry_is_a_crash_with_its_traceback(sink: Sink) -> None:
    async with ready(runtime(AGENTS / "native_raises.py", sink)) as child:
        child.send(start_job("salon"))
        crash = await until(child, JobCrashed)
        assert crash.error == "ValueError: no idea what to do in salon"
        assert 'native_raises.py", line 5, in entry' in crash.traceback
        assert "agent_tui" not in crash.traceback
        assert (await rest(child))[0] == Exiting("job crashed")
        assert (await ended(child)).exit_code == 0


@pytest.mark.parametrize(
    ("fake", "error"), [(True, "this server has no media"), (False, "pip install livekit")]
)
async def test_connect_says_what_is_missing(sink: Sink, fake: bool, error: str) -> None:
    bare = Path("/usr/bin/python3")
    if not bare.exists():
        pytest.skip("needs a Python without the livekit package at /usr/bin/python3")
    async with ready(runtime(AGENTS / "native_connects.py", sink, python=bare)) as child:
        child.send(start_job(fake_job=fake))
        assert error in (await until(child, JobCrashed)).error


async def test_the_file_is_run_as_python_would(sink: Sink, tmp_path: Path) -> None:
    run = runtime(AGENTS / "native_probes.py", sink, PYTHONPATH=str(tmp_path), MY_KEY="mine")
    async with ready(run) as child:
        child.send(start_job())
        await rest(child)
        await ended(child)
        sink.join()
    found = json.loads(sink.printed()[0])
    file = str(AGENTS / "native_probes.py")
    assert (found["file"], found["argv"]) == (file, [file, "dev"])
    assert found["path0"] == found["cwd"] == str(AGENTS)
    assert (found["ours"], found["bytecode"], found["stdin"]) == ([], False, "/dev/null")
    environ = found["environ"]
    assert (environ["MY_KEY"], environ["PYTHONPATH"]) == ("mine", str(tmp_path))
    assert set(environ) <= {"PATH", "HOME", "LANG", "PYTHONPATH", "MY_KEY", "LC_CTYPE"}


@pytest.mark.parametrize("on_path", [False, True])
async def test_modules_named_like_the_standard_librarys(sink: Sink, tmp_path: Path, on_path: bool) -> None:
    for name in ("json", "types", "queue", "logging", "threading", "calendar", "enum", "abc"):
        (tmp_path / f"{name}.py").write_text(f"WHOSE = 'own {name}'\n")
    (tmp_path / "asyncio").mkdir()
    (tmp_path / "asyncio" / "__init__.py").write_text("from . import part\nfrom asyncio.part import WHOSE\n")
    (tmp_path / "asyncio" / "part.py").write_text("import queue\nWHOSE = f'own asyncio, {queue.WHOSE}'\n")
    (tmp_path / "agent.py").write_text(
        "import asyncio.part, json, types\n"
        "from queue import WHOSE\n"
        "import abc, http.cookiejar, multiprocessing.pool, sys\n"
        "async def entry(ctx):\n"
        "    import logging, threading\n"
        "    print(asyncio.WHOSE, json.WHOSE, types.WHOSE, WHOSE, logging.WHOSE, threading.WHOSE, sep='; ')\n"
        "    print(http.cookiejar.timegm is sys.modules['calendar'].timegm, hasattr(abc, 'WHOSE'))\n"
        "    loop = sys.modules['asyncio'].get_running_loop()\n"
        "    print(await loop.run_in_executor(None, lambda: 'in a thread'))\n"
        "    ctx.shutdown('done')\n"
    )
    run = runtime(tmp_path / "agent.py", sink, PYTHONPATH=str(tmp_path) if on_path else "")
    async with ready(run) as child:
        child.send(start_job())
        assert Exiting("done") in await rest(child)
        await ended(child)
    sink.join()
    assert sink.printed() == [
        "own asyncio, own queue; own json; own types; own queue; own logging; own threading",
        "True False",
        "in a thread",
    ]
    async with launched(run, ProcessKind.CONTROL, functions="") as child:
        manifest = await loaded(child)
        assert isinstance(manifest, Manifest)
        assert {Path(file).stem for file in manifest.files} > {"agent", "json", "queue", "part"}


async def test_printed_text_arrives_completely(sink: Sink) -> None:
    async with ready(runtime(AGENTS / "native_prints.py", sink, LANG="C", LC_ALL="C")) as child:
        child.send(start_job())
        await rest(child)
        await ended(child)
        sink.join()
    assert sink.printed() == [
        "ünïcödé ☎ \U0001f399",
        "\x1b[31mred\x1b[0m and \a bell",
        "bytes \ufffd\ufffd",
        "no newline",
    ]
    assert "to stderr" in sink.printed("stderr")


async def test_breakpoint_without_a_debugger_is_a_line(sink: Sink) -> None:
    async with ready(runtime(AGENTS / "native_breakpoint.py", sink)) as child:
        child.send(start_job())
        assert not [each for each in await rest(child) if isinstance(each, JobCrashed)]
        await ended(child)
        sink.join()
    assert sink.printed() == ["went on"]
    assert "native_breakpoint.py:5" in sink.logged("breakpoint()")[0][1]


async def test_attaching_and_detaching_a_debugger_is_reported(sink: Sink) -> None:
    async with ready(runtime(AGENTS / "native_traced.py", sink)) as child:
        child.send(start_job())
        assert await until(child, Debugging) == Debugging(True)
        assert await until(child, Debugging) == Debugging(False)


async def test_the_example_runs(sink: Sink) -> None:
    async with ready(runtime(AGENTS.parents[1] / "examples" / "native_agent.py", sink)) as child:
        child.send(start_job("salon"))
        told = await rest(child)
        assert [type(each) for each in told] == [EntryStarted, Exiting, ShuttingDown]
        assert (await ended(child)).exit_code == 0
    assert [text for _, text, _ in sink.records if "oo" in text] == [
        "Hello, room salon",
        "goodbye: call finished",
    ]


async def test_a_flood_of_records_does_not_hold_up_the_job(sink: Sink) -> None:
    async with ready(runtime(AGENTS / "native_flood.py", sink)) as child:
        child.send(start_job())
        # The host reads nothing in this time: this thread, and its event loop, are blocked.
        deadline = time.monotonic() + PATIENCE_S
        while not any(line.startswith("flooded") for line in sink.printed()):
            assert time.monotonic() < deadline
            time.sleep(0.05)  # noqa: ASYNC251
        await rest(child)
        await ended(child)
    assert "log records dropped" in "".join(text for _, text, _ in sink.records)
    assert 1_000 < len(sink.logged("line ")) < 20_000


async def test_stacks_of_a_blocked_child(sink: Sink) -> None:
    async with ready(runtime(AGENTS / "native_blocks.py", sink)) as child:
        child.send(start_job())
        text = await stacks_of(child, "native_blocks.py:9 in entry")
        assert "time.sleep" in text
        assert "Task entry" in text
        child.kill()
        assert (await ended(child)).signal == signal.SIGKILL


@pytest.mark.parametrize("room", ["stay", "leave"])
async def test_a_grandchild_dies_with_its_job(sink: Sink, room: str) -> None:
    async with ready(runtime(AGENTS / "native_grandchild.py", sink)) as child:
        child.send(start_job(room))
        await poll(lambda: sink.printed())
        grandchild = int(sink.printed()[0].split()[1])
        if room == "stay":
            assert alive(grandchild)
            child.kill()
        await ended(child)
        await poll(lambda: not alive(grandchild), 5)
        sink.join()


async def test_wait_and_kill_can_be_called_again(sink: Sink) -> None:
    async with ready(runtime(AGENTS / "native_waits.py", sink)) as child:
        child.kill()
        first = await asyncio.gather(ended(child), ended(child))
        child.kill()
        child.send(Ping(1))
        assert [each.signal for each in (*first, await ended(child))] == [signal.SIGKILL] * 3


async def test_a_missing_python_leaves_nothing_open(sink: Sink) -> None:
    run = runtime(AGENTS / "native_waits.py", sink, python=Path("/nowhere/python"))
    before = set(os.listdir("/proc/self/fd"))  # noqa: PTH208
    with pytest.raises(OSError, match="nowhere"):
        await run.launch(ProcessKind.JOB, "p1")
    assert set(os.listdir("/proc/self/fd")) == before  # noqa: PTH208


# -- failures while loading -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "error", "place"),
    [
        ("raises_at_import.py", "KeyError: 'missing'", ("broken_helper.py", 5)),
        ("exits_at_import.py", "SystemExit: no API key, see README", ("exits_at_import.py", 5)),
        ("native_no_entry.py", "has no entry function", ("native_no_entry.py", None)),
        ("syntax_error.py", "SyntaxError: expected ':'", ("syntax_error.py", 4)),
    ],
)
@pytest.mark.parametrize("kind", [ProcessKind.CONTROL, ProcessKind.JOB])
async def test_a_file_that_does_not_load(
    sink: Sink, tmp_path: Path, kind: ProcessKind, name: str, error: str, place: tuple[str, int | None]
) -> None:
    file = AGENTS / name
    if name == "syntax_error.py":
        file = tmp_path / name
        file.write_bytes((AGENTS / "syntax_error.py.txt").read_bytes())
    async with launched(runtime(file, sink), kind) as child:
        failed = await until(child, Failed)
        assert error in failed.error
        assert (Path(failed.file or "").name, failed.line) == place
        # Errors of agent-tui itself need no traceback.
        assert failed.error in failed.traceback or (name == "native_no_entry.py" and not failed.traceback)
        assert "agent_tui/child" not in failed.traceback
        assert (await ended(child)).exit_code == 1


async def test_a_prewarm_that_raises(sink: Sink) -> None:
    async with launched(runtime(AGENTS / "native_prewarm_fails.py", sink)) as child:
        failed = await until(child, Failed)
        assert failed.error == "OSError: the model is not there"
        assert (Path(failed.file or "").name, failed.line) == ("native_prewarm_fails.py", 5)
        assert await rest(child) == []
        assert (await ended(child)).exit_code == 1


async def test_a_hanging_prewarm_shows_its_stacks_and_can_be_killed(sink: Sink) -> None:
    async with launched(runtime(AGENTS / "native_prewarm_hangs.py", sink)) as child:
        assert await child.receive() == Loading()
        child.send(DumpStacks())
        await until(child, Stacks)
        child.kill()
        assert (await ended(child)).signal == signal.SIGKILL


# -- control --------------------------------------------------------------------------------------------


async def test_the_manifest(sink: Sink) -> None:
    async with launched(runtime(AGENTS / "native_short.py", sink), ProcessKind.CONTROL) as child:
        manifest = await loaded(child)
        assert isinstance(manifest, Manifest)
        assert (manifest.runtime, manifest.has_entry, manifest.has_prewarm) == ("native", True, True)
        assert (manifest.has_request_func, manifest.has_load_func) == (False, False)
        assert manifest.files == (str(AGENTS / "native_short.py"), str(AGENTS / "native_helper.py"))
        child.send(AskLoad(1))
        assert await child.receive() == LoadAnswer(1, None, "LookupError: the agent has no load function")
        child.send(AskRequest(make_job(), "AJ_1"))
        answer = await until(child, RequestAnswer)
        expected = AcceptArguments("agent-AJ_1", attributes={"lk.agent.name": "registered"})
        assert answer == RequestAnswer("AJ_1", expected)
        child.send(Ping(5))
        assert await child.receive() == Pong(5)
        child.send(Shutdown(""))
        assert await rest(child) == [ShutdownAck(), ShuttingDown()]
        assert (await ended(child)).exit_code == 0


async def test_request_functions(sink: Sink) -> None:
    async with launched(runtime(AGENTS / "native_requests.py", sink), ProcessKind.CONTROL) as child:
        await loaded(child)
        child.send(AskRequest(make_job("hang", "AJ_hang"), "AJ_hang"))  # the others do not wait for it
        answers = {}
        for room in ("reject", "raise", "silent", "twice", "salon"):
            child.send(AskRequest(make_job(room, f"AJ_{room}"), f"AJ_{room}"))
            answers[room] = await until(child, RequestAnswer)
        assert {answer.job_id for answer in answers.values()} == {f"AJ_{room}" for room in answers}
        assert answers["reject"] == RequestAnswer("AJ_reject", None)
        assert answers["raise"].error == "KeyError: 'what room'"
        assert "without accepting or rejecting" in (answers["silent"].error or "")
        stamped = {"lk.agent.name": "registered", "mood": "good"}
        assert answers["salon"].accept == AcceptArguments("ann", "Ann", "meta", stamped)
        assert not sink.printed()
        child.send(AcceptOutcome("AJ_salon"))
        await poll(lambda: sink.printed() == ["accepted AJ_salon"])
        child.send(AcceptOutcome("AJ_twice"))
        await poll(lambda: sink.logged("was already answered"))
        child.send(Ping(9))
        assert await child.receive() == Pong(9)  # and no second answer came before it


async def test_an_accepted_job_that_was_not_started_raises_in_the_request_function(sink: Sink) -> None:
    async with launched(runtime(AGENTS / "native_requests.py", sink), ProcessKind.CONTROL) as child:
        await loaded(child)
        child.send(AskRequest(make_job(), "AJ_1"))
        await until(child, RequestAnswer)
        child.send(AcceptOutcome("AJ_1", "no assignment came"))
        await poll(lambda: sink.logged("was accepted but not started: no assignment came"))


async def test_the_load_function_sees_the_worker(sink: Sink) -> None:
    async with launched(runtime(AGENTS / "native_requests.py", sink), ProcessKind.CONTROL) as child:
        await loaded(child)
        job = ActiveJob(make_job(), AcceptArguments("ann"), "ws://h", "t", "AW_1")
        child.send(WorkerLive("AW_1", (job, job), False))
        child.send(AskLoad(7))
        assert await child.receive() == LoadAnswer(7, 0.2)
        child.send(WorkerLive("AW_1", (), True))
        child.send(AskLoad(8))
        assert await child.receive() == LoadAnswer(8, None, "RuntimeError: no load while draining")


# -- the end of the host ------------------------------------------------------------------------------

HOST = """
import asyncio, sys
sys.path.insert(0, sys.argv[1])
from tests.runtimes.support import *
from agent_tui.model.child import EntryStarted
async def main():
    for number, word in enumerate(sys.argv[3:]):
        name, what = word.split()
        sink, children = Sink(), []
        child = await launch(runtime(AGENTS / name, sink), children, ProcessKind.JOB, f"p{number}")
        await until(child, Ready)
        if what == "job":
            child.send(start_job("stay"))
            await until(child, EntryStarted)
            await poll(lambda: sink.printed())
        print(*(each.pid for each in children), *sink.printed(), flush=True)
    await asyncio.sleep(600)
with started_by(StartMethod(sys.argv[2])):
    asyncio.run(main())
"""
ENDS_WITHIN_S = {
    "native_waits.py idle": 2,
    "native_waits.py job": 4,
    "native_grandchild.py job": 4,
    "native_blocks.py job": 12,
}
"""By file, and whether a process is idle or runs a job."""


def test_no_child_outlives_a_killed_host(each_start_method: StartMethod) -> None:
    root = str(Path(__file__).resolve().parents[2])
    command = [sys.executable, "-c", HOST, root, each_start_method, *ENDS_WITHIN_S]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as host:
        assert host.stdout is not None
        lines = [host.stdout.readline().split() for _ in ENDS_WITHIN_S]
        pids = [[int(word) for word in words if word.isdigit()] for words in lines]
        try:
            assert all(pids)
            assert all(alive(pid) for each in pids for pid in each)
        finally:
            host.kill()
    killed = time.monotonic()
    for (which, within_s), each in zip(ENDS_WITHIN_S.items(), pids, strict=True):
        while any(alive(pid) for pid in each):
            assert time.monotonic() < killed + within_s, f"{which}: a child outlived its host"
            time.sleep(0.05)


async def test_later_saves_do_not_mix_into_a_job(sink: Sink, tmp_path: Path) -> None:
    agent = tmp_path / "agent.py"
    agent.write_text(
        "import importlib\n"
        "import present\n"
        "async def entry(ctx):\n"
        "    for name in ('lazy', 'helper', 'package', 'package.sub', 'space.sub', 'json', 'unknown'):\n"
        "        try:\n"
        "            print(name, getattr(importlib.import_module(name), 'VERSION', 'found'))\n"
        "        except ImportError:\n"
        "            print(name, 'missing')\n"
    )
    names = ("present", "lazy", "package/__init__")
    (tmp_path / "package").mkdir()
    for name in names:
        (tmp_path / f"{name}.py").write_text("VERSION = 1\n")
    contents = {str(file): file.read_bytes() for file in tmp_path.rglob("*.py")}
    run = runtime(agent, sink)
    run.serve(Modules({path: each for path, each in contents.items() if "lazy" not in path}))
    async with nothing_left() as children:
        parents = await parents_of(run, children, ProcessKind.JOB)
        missing = ("helper", "package/sub", "space", "json")
        run.serve(Modules(contents, frozenset(str(tmp_path / each) for each in missing)))
        (tmp_path / "space").mkdir()
        for name in (*names, "helper", "package/sub", "space/sub", "unknown"):
            (tmp_path / f"{name}.py").write_text("VERSION = 2\n")
        child = await run.launch(ProcessKind.JOB, "p1", "", parents)
        children.append(child)
        await until(child, Ready)
        child.send(start_job())
        await rest(child)
        sink.join()
    assert sink.printed() == [
        "lazy 1",
        "helper missing",
        "package 1",
        "package.sub missing",
        "space.sub missing",
        "json found",
        "unknown 2",
    ]


async def test_an_agent_file_that_became_a_link_keeps_its_generation(sink: Sink, tmp_path: Path) -> None:
    agent, helper = tmp_path / "agent.py", tmp_path / "helper.py"
    agent.write_text("import helper\nasync def entry(ctx):\n    pass\n")
    helper.write_text("")
    run = runtime(agent, sink)
    run.serve(Modules({str(path): path.read_bytes() for path in (agent, helper)}))
    agent.unlink()
    agent.symlink_to("/dev/zero")
    async with launched(run, ProcessKind.JOB) as child:
        assert isinstance(await until(child, Ready), Ready)


async def test_an_agent_file_that_is_not_a_regular_file_is_refused(sink: Sink, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "agent.py")
    async with launched(runtime(tmp_path / "agent.py", sink), ProcessKind.CONTROL) as child:
        failed = await loaded(child)
        assert isinstance(failed, Failed)
        assert failed.error.endswith("agent.py is not a regular file")
