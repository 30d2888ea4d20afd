"""Saves while the agent serves: real files, real processes, the embedded server."""

import asyncio
import os
import shutil
import signal
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from livekit import api

from agent_tui.local_server.server import LocalServer
from tests.cli.support import Event, Run, agent_tui, left_at_most, save
from tests.sdks import METHODS_IN_TURN, each_sdk_with, sdk_in_turn

pytestmark = pytest.mark.real

SECRET = "a-secret-that-is-long-enough-for-anybody"
METHODS = ("fork", "template", "spawn")

NATIVE = """
import asyncio
VERSION = "one"

async def entry(ctx):
    print("entered on", VERSION, flush=True)
    async def goodbye():
        print("goodbye from", VERSION, flush=True)
    ctx.add_shutdown_callback(goodbye)
    if ctx.job.room.name.startswith("stay"):
        await asyncio.Event().wait()
"""

SDK = """
import asyncio
from livekit.agents import AgentServer, JobContext, cli
VERSION = "one"
server = AgentServer()

@server.rtc_session()
async def entry(ctx: JobContext):
    print("entered on", VERSION, flush=True)
    async def goodbye():
        print("goodbye from", VERSION, flush=True)
    ctx.add_shutdown_callback(goodbye)
    if not ctx.job.room.name.startswith("stay"):
        ctx.shutdown("done")

if __name__ == "__main__":
    cli.run_app(server)
"""


def in_place(path: Path, text: str) -> None:
    """Save in one write, so that no load finds half of the text."""
    with path.open("r+") as file:
        file.write(text.ljust(path.stat().st_size, "\n"))


class Session:
    """A running agent-tui, and the API of its server."""

    def __init__(self, run: Run, client: api.LiveKitAPI) -> None:
        self.run = run
        self._client = client

    async def room(self, name: str) -> None:
        """Create a room, which dispatches an agent without a name."""
        await self._client.room.create_room(api.CreateRoomRequest(name=name))

    async def job(self, room: str) -> Event:
        """Dispatch a job, and wait for its entry."""
        await self.room(room)
        return await self.run.until("job_started", room=room)

    async def ready(self, generation: int) -> Event:
        return await self.run.until("generation_ready", generation=generation)

    async def printed(self, text: str, count: int = 1) -> None:
        await self.run.until("log", count, text=text)


@asynccontextmanager
async def serving(
    agent: Path,
    *more: str,
    environ: dict[str, str] | None = None,
    program: Sequence[object] = ("-m", "agent_tui"),
) -> AsyncIterator[Session]:
    """Run agent-tui on that file. Yields once it is warm and registered."""
    async with LocalServer(keys={"devkey": SECRET}) as server:
        place = ("--json", "--url", server.url, "--api-key", "devkey", "--api-secret", SECRET)
        async with (
            agent_tui(agent, *place, *more, environ=environ, program=program) as run,
            api.LiveKitAPI(f"http{server.url[2:]}", "devkey", SECRET) as client,
        ):
            session = Session(run, client)
            await session.ready(1)
            await run.until("registered")
            await run.until("process", kind="job", state="idle", generation=1)
            yield session


@pytest.fixture
def agent(tmp_path: Path) -> Path:
    file = tmp_path / "agent.py"
    file.write_text(NATIVE)
    return file


@pytest.mark.parametrize(
    ("method", "write"), [("fork", save), ("template", in_place), ("spawn", save), ("fork", in_place)]
)
async def test_a_save_is_served_and_a_running_job_is_untouched(
    agent: Path, method: str, write: Callable[[Path, str], None]
) -> None:
    async with serving(agent, "--start-method", method) as s:
        assert (await s.ready(1))["start_method"] == method
        stays = await s.job("stay")
        write(agent, NATIVE.replace('"one"', '"two"'))
        ready = await s.ready(2)
        assert (ready["cause"], ready["changed"]) == (str(agent), [str(agent)])
        assert 0 < ready["seconds"] < 30
        assert (await s.job("new"))["generation"] == 2
        await s.printed("entered on two")
        write(agent, "def broken(:\n")
        failed = await s.run.until("generation_failed")
        assert (failed["file"], failed["line"], failed["cause"]) == (str(agent), 1, str(agent))
        assert (await s.job("after"))["generation"] == 2
        write(agent, NATIVE.replace('"one"', '"four"'))
        await s.ready(4)
        assert (await s.job("last"))["generation"] == 4
        assert not [e for e in s.run.all("job_ended") if e["job_id"] == stays["job_id"]]
        os.kill(stays["pid"], 0)
        assert len(s.run.all("registered")) == 1
        assert not s.run.all("disconnected")
    [end] = [e for e in s.run.all("job_ended") if e["job_id"] == stays["job_id"]]
    assert end["generation"] == 1
    assert "goodbye from one" in [e["text"] for e in s.run.all("log")]


@each_sdk_with("method", METHODS_IN_TURN)
async def test_a_livekit_agents_file_is_reloaded(tmp_path: Path, sdk_python: Path, method: str) -> None:
    file = tmp_path / "agent.py"
    file.write_text(SDK)
    async with serving(file, "--start-method", method, "--python", str(sdk_python)) as s:
        await s.job("stay")
        for number in (2, 3):
            save(file, SDK.replace('"one"', f'"{number}"'))
            await s.ready(number)
            assert (await s.job(f"room-{number}"))["generation"] == number
            await s.printed(f"entered on {number}")
        assert not [e for e in s.run.all("job_ended") if e["room"] == "stay"]
        save(file, NATIVE)
        failed = await s.run.until("generation_failed")
        assert failed["error"].startswith("agent.py is a native file now, but was a livekit-agents file")


@sdk_in_turn()
async def test_restart_runs_the_callbacks_and_the_same_job_on_new_code(
    tmp_path: Path, sdk_python: Path
) -> None:
    file = tmp_path / "agent.py"
    file.write_text(SDK)
    async with serving(file, "--on-reload", "restart", "--python", str(sdk_python)) as s:
        before = await s.job("stay")
        save(file, SDK.replace('"one"', '"two"'))
        restarting = await s.run.until("job_restarting")
        assert (restarting["job_id"], restarting["generation"]) == (before["job_id"], 1)
        after = await s.run.until("job_started", restarts=1)
        assert (after["job_id"], after["generation"]) == (before["job_id"], 2)
        assert after["pid"] != before["pid"]
        await s.printed("goodbye from one")
        await s.printed("entered on two")
        assert not s.run.all("job_ended")


@pytest.mark.parametrize("policy", ["restart", "end"])
async def test_what_happens_to_native_jobs_at_a_reload(agent: Path, policy: str) -> None:
    async with serving(agent, "--on-reload", policy) as s:
        job = await s.job("stay")
        save(agent, "syntax error\n")
        await s.run.until("generation_failed")
        assert not s.run.all("job_ended") + s.run.all("job_restarting")  # a broken save touches nothing
        save(agent, NATIVE.replace('"one"', '"two"'))
        await s.printed("goodbye from one")
        if policy == "restart":
            again = await s.run.until("job_started", restarts=1)
            assert (again["job_id"], again["generation"]) == (job["job_id"], 3)
        else:
            end = await s.run.until("job_ended")
            assert end["status"] == "terminated"
            assert end["reason"] == "--on-reload end: generation 3 took over"


LAZY = """
async def entry(ctx):
    import asyncio
    if ctx.job.room.name == "stay":
        while not __import__("pathlib").Path(__file__).with_name("go").exists():
            await asyncio.sleep(0.02)
    from tools import later
    print("lazily", later.VALUE, flush=True)
    later.fails()
"""


@pytest.mark.parametrize(
    ("method", "fate"),
    [
        ("fork", "changed"),
        ("fork", "broken"),
        ("fork", "deleted"),
        ("template", "deleted"),
        ("spawn", "changed"),
    ],
)
async def test_an_old_job_imports_the_modules_of_its_generation(
    tmp_path: Path, method: str, fate: str
) -> None:
    agent, tools = tmp_path / "agent.py", tmp_path / "tools"
    tools.mkdir()
    (tools / "__init__.py").touch()
    later = tools / "later.py"
    old = "VALUE = 'old'\ndef fails():\n    raise RuntimeError('in the old line')\n"
    later.write_text(old)
    agent.write_text(LAZY)
    async with serving(agent, "--start-method", method) as s:
        job = await s.job("stay")
        match fate:
            case "changed":
                save(later, "VALUE = 'new'\n# other lines\n\n\ndef fails(): pass\n")
                await s.ready(2)
            case "broken":
                save(later, "VALUE = = 'new'\n")
                save(agent, LAZY + "from tools import later\n")
                await s.run.until("generation_failed")
            case _:
                shutil.rmtree(tools)
                await s.run.until("generation_ready", 2)
        (tmp_path / "go").touch()
        await s.printed("lazily old")
        end = await s.run.until("job_ended", job_id=job["job_id"])
        assert end["reason"] == "RuntimeError: in the old line"
        [crash] = [e["text"] for e in s.run.all("log") if "Traceback" in e["text"]]
        assert "raise RuntimeError('in the old line')" in crash


BROKEN = {
    "syntax": ("async def entry(ctx:\n", "SyntaxError", 1),
    "missing module": ("\nimport there_is_no_such_module\n", "ModuleNotFoundError", 2),
    "raises": ("\n\nraise ValueError('at import')\n", "ValueError: at import", 3),
    "exits": ("import sys\nsys.exit(3)\n", "SystemExit", 2),
    "no entry": ("x = 1\n", "has no entry function", None),
    "hangs": ("import time\ntime.sleep(3600)\n", "initializeProcessTimeout", 2),
    "prewarm": (NATIVE + "def prewarm(proc):\n    raise KeyError('model')\n", "KeyError: 'model'", 13),
    "kills itself": ("import os\nos.kill(os.getpid(), 9)\n", "killed by SIGKILL", None),
    "deleted": (None, "No such file", None),
}


@pytest.mark.timeout(300)
async def test_after_a_broken_save_the_old_code_serves_until_the_next_good_save(agent: Path) -> None:
    serves = 1
    async with serving(agent, "--initialize-process-timeout", "1s") as s:
        for count, (how, (text, error, line)) in enumerate(BROKEN.items(), 1):
            printed = f"entered on {'one' if count == 1 else f'fixed {count - 1}'}"
            if text is None:
                agent.unlink()
            else:
                save(agent, text)
            failed = await s.run.until("generation_failed", count)
            assert error in failed["error"], how
            assert failed["line"] == line, how
            assert (await s.job(f"meanwhile-{count}"))["generation"] == serves, how
            await s.printed(printed, min(count, 2))  # once by the job before the save
            save(agent, NATIVE.replace('"one"', f'"fixed {count}"'))
            serves = (await s.run.until("generation_ready", count + 1))["generation"]
            assert (await s.job(f"fixed-{count}"))["generation"] == serves, how
            await s.printed(f"entered on fixed {count}")


async def test_saves_of_helpers_env_files_and_patterns_reload(tmp_path: Path) -> None:
    agent = tmp_path / "agent.py"
    agent.write_text(
        "import os, helper\nfrom dotenv_free import NOTHING\n"
        "async def entry(ctx): print(helper.WORD, os.environ.get('FROM_ENV'), flush=True)\n"
    )
    (tmp_path / "dotenv_free.py").write_text("NOTHING = 1\n")
    (tmp_path / "helper.py").write_text("WORD = 'a'\n")
    (tmp_path / "test_agent.py").write_text("")
    (tmp_path / "prompts").mkdir()
    async with serving(agent, "--watch", f"{tmp_path}/prompts/*.md") as s:
        for number, (name, text) in enumerate(
            [
                ("helper.py", "WORD = 'b'\n"),
                (".env", "FROM_ENV=1\n"),
                (".env", "FROM_ENV=2\n"),
                ("prompts/system.md", "You are."),
            ],
            2,
        ):
            save(tmp_path / "test_agent.py", f"unrelated = {number}\n")
            save(tmp_path / "helper.py", (tmp_path / "helper.py").read_text())
            await asyncio.sleep(0.15)
            save(tmp_path / name, text)
            assert (await s.ready(number))["cause"] == str(tmp_path / name)
        (tmp_path / ".env").unlink()
        await s.ready(6)
        await s.job("last")
        await s.printed("b None")
        await asyncio.sleep(0.2)
        assert len(s.run.all("generation_ready")) == 6


async def test_a_file_that_each_load_rewrites_is_ignored(agent: Path) -> None:
    stamp = agent.with_name("stamp.py")
    stamp.write_text("STAMP = 0\n")
    agent.write_text(
        NATIVE + "import time, pathlib, stamp\n"
        "if __name__ == '__mp_main__':\n"
        "    pathlib.Path(__file__).with_name('stamp.py').write_text(f'STAMP = {time.time_ns()}\\n')\n"
    )
    async with agent_tui(agent, "--local", "--json") as run:
        event = await run.until("watching")
        assert event["passed_over"] == [str(stamp)]
        assert any("loading the agent rewrites" in e["text"] for e in run.all("log"))
        save(agent, agent.read_text() + "# a real save\n")
        ready = await run.until("generation_ready", cause=str(agent))
        assert ready["changed"] == [str(agent)]


async def test_saves_faster_than_loads_are_not_ignored_as_rewrites(agent: Path) -> None:
    slow = NATIVE + "import time\ntime.sleep(0.8)\nprint('loaded', VERSION, flush=True)\n"
    agent.write_text(slow)
    async with serving(agent) as s:
        for number in range(9):
            save(agent, f"{slow}# {number}\n")
            await asyncio.sleep(0.6)
        save(agent, slow.replace('"one"', '"the last"'))
        await s.printed("loaded the last")
        await s.run.until("generation_ready", len(s.run.all("generation_ready")) + 1)
        await s.job("new")
        await s.printed("entered on the last")
        assert not s.run.all("watching")


async def test_a_changed_name_is_registered_before_the_old_one_drains(tmp_path: Path) -> None:
    agent = tmp_path / "agent.py"
    agent.write_text(NATIVE)
    env = tmp_path / ".env"
    async with agent_tui(agent, "--local", "--json") as run:
        await run.until("registered")
        await run.until("process", kind="job", state="idle")
        save(env, "LIVEKIT_AGENT_NAME=inbound\n")
        again = await run.until("registered", 2)
        assert again["agent_name"] == "inbound"
        assert not run.all("disconnected")
        assert (await run.until("options_changed"))["agentName"] == ["", "inbound"]


async def test_an_offer_is_answered_by_the_generation_that_received_it(agent: Path) -> None:
    slowly = (
        "async def request_func(req):\n"
        "    print('asked on', VERSION, flush=True)\n"
        "    await asyncio.sleep(1.2)\n"
        "    await req.accept()\n"
        "    await asyncio.sleep(0.2)\n"
        "    print('told on', VERSION, flush=True)\n"
    )
    agent.write_text(NATIVE + slowly)
    async with serving(agent) as s:
        await s.room("room")
        await s.printed("asked on one")
        save(agent, NATIVE.replace('"one"', '"two"') + slowly)
        await s.ready(2)
        assert not s.run.all("job_started")
        job = await s.run.until("job_started")
        assert job["generation"] == 2
        await s.printed("told on one")
        assert not s.run.all("job_lost")
        ended = await s.run.until("process", kind="control", state="ended", generation=1)
        assert (ended["reason"], ended["exit_code"]) == ("generation 2 took over", 0)


ONLY_ONCE = """
import pathlib, time
time.sleep(0.7)  # so slow that a template loads it once for all
here = pathlib.Path(__file__).parent
while (here / "loaded").exists() and not (here / "go on").exists():
    time.sleep(0.02)
(here / "loaded").touch()
"""
"""Code of a file that loads at once the first time, and then only once the file `go on` exists."""


async def test_a_broken_save_right_after_the_start_changes_nothing(agent: Path) -> None:
    slow = ONLY_ONCE + NATIVE
    agent.write_text(slow)
    async with agent_tui(agent, "--local", "--json", "--dispatch", "1") as run:
        await run.until("registered")
        save(agent, "async def entry(ctx:\n")
        assert (await run.until("generation_failed"))["generation"] == 2
        assert not run.all("generation_ready")  # its template loads still
        (agent.parent / "go on").touch()
        job = await run.until("job_started")
        assert job["generation"] == 1
        await run.until("generation_ready", generation=1)
        save(agent, slow + "# fixed\n")
        await run.until("generation_ready", generation=3)


@sdk_in_turn()
async def test_a_save_that_changes_the_runtime_is_refused_with_a_reason(
    tmp_path: Path, sdk_python: Path
) -> None:
    agent = tmp_path / "agent.py"
    now_sdk = "agent.py is a livekit-agents file now, but was a native file when agent-tui started"
    agent.write_text(NATIVE)
    async with serving(agent, "--python", str(sdk_python)) as s:
        # The first one loads; the second one fails before it imports the SDK.
        for count, text in enumerate((SDK, f"raise ValueError\n{SDK}"), 1):
            save(agent, text)
            failed = await s.run.until("generation_failed", count)
            assert failed["error"] == f"{now_sdk}: restart agent-tui"
        save(agent, "def broken(:\n")
        assert "SyntaxError" in (await s.run.until("generation_failed", 3))["error"]
        assert (await s.job("meanwhile"))["generation"] == 1


async def test_twenty_saves_under_load_lose_nothing(agent: Path) -> None:
    async with serving(agent) as s:
        stop = asyncio.Event()
        rooms: list[str] = []

        async def dispatch() -> None:
            while not stop.is_set():
                rooms.append(f"room-{len(rooms)}")
                await s.room(rooms[-1])
                await asyncio.sleep(0.05)

        dispatching = asyncio.create_task(dispatch())
        for number in range(2, 22):
            (in_place, save)[number % 2](agent, NATIVE.replace('"one"', f'"{number}"'))
            await s.run.until("generation_ready", number)  # an overtaken load has a number too
        stop.set()
        await dispatching
        for room in rooms:
            await s.run.until("job_ended", room=room)
        assert {e["status"] for e in s.run.all("job_ended")} == {"success"}
        assert not s.run.all("job_lost")
        _assert_none_on_older_code(s.run)
        assert len(s.run.all("registered")) == 1


def _assert_none_on_older_code(run: Run) -> None:
    """Check that no job ran on older code than the generation that was ready at its offer."""
    current, ready_at_offer = 0, {}
    for event in run.events:
        match event["event"]:
            case "generation_ready":
                current = event["generation"]
            case "offer":
                ready_at_offer[event["job_id"]] = current
            case "job_started":
                assert event["generation"] >= ready_at_offer[event["job_id"]]


async def test_no_base_template_or_job_survives_kill_9(agent: Path) -> None:
    async with serving(agent, "--start-method", "template") as s:
        await s.job("stay")
        save(agent, "import time\ntime.sleep(3600)\n")  # a template and a control process that load forever
        await s.run.until("process", kind="template", state="starting", generation=2)
        s.run.process.send_signal(signal.SIGKILL)
        await s.run.process.wait()
        await left_at_most(0, s.run.mark, 20)
