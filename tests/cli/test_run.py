"""`agent-tui AGENT` as users run it: events and exit codes."""

import asyncio
import os
import re
import signal
import sys
import time
from pathlib import Path

import aiohttp
import pytest

from tests.cli.support import AGENTS, ENVIRON, EXAMPLES, agent_tui, finished, left_at_most, save
from tests.sdks import each_sdk_with, sdk_in_turn

pytestmark = pytest.mark.real

TEST_JOBS = ("--local", "--headless", "--json", "--exit-when-idle", "--dispatch")

IMPORTS = """
import asyncio, os, time
from livekit.agents import AgentServer, JobContext, WorkerOptions, cli

async def entry(ctx: JobContext):
    with open(os.environ["MARKS"], "a") as marks:
        print(ctx.job.id, time.time(), file=marks)
    await ctx.connect()
    ctx.shutdown("done")
"""

STYLES = {
    "AgentServer behind the guard": """
server = AgentServer()
server.rtc_session(entry)
if __name__ == "__main__":
    cli.run_app(server)
""",
    "WorkerOptions in the guard": """
if __name__ == "__main__":
    cli.run_app(WorkerOptions(entrypoint_fnc=entry, agent_name="old-style"))
""",
    "no guard": """
server = AgentServer()
server.rtc_session(entry, agent_name="unguarded")
cli.run_app(server)
""",
    "built in a function": """
def build():
    server = AgentServer()

    @server.rtc_session()
    async def closure(ctx):
        await entry(ctx)

    return server

def main():
    asyncio.run(build().run())

if __name__ == "__main__":
    main()
""",
}


async def test_the_native_example() -> None:
    code, run = await finished(EXAMPLES / "native_agent.py", *TEST_JOBS, 5)
    assert code == 0, run.stderr
    assert len(run.all("registered")) == 1
    started, ended = run.all("job_started"), run.all("job_ended")
    assert len({event["job_id"] for event in started}) == len({event["pid"] for event in started}) == 5
    assert [event["status"] for event in ended] == ["success"] * 5
    assert [event["seq"] for event in run.events] == list(range(1, len(run.events) + 1))
    assert run.names[0] == "starting"
    assert run.names[-2:] == ["log", "stopped"] or run.names[-1] == "stopped"
    assert run.stderr == ""


@each_sdk_with("style", tuple(STYLES), each_value=True)
async def test_each_file_style_of_the_sdk_unmodified(style: str, sdk_python: Path, tmp_path: Path) -> None:
    agent, marks = tmp_path / "agent.py", tmp_path / "marks"
    agent.write_text(IMPORTS + STYLES[style])
    code, run = await finished(
        agent, *TEST_JOBS, 3, "--python", sdk_python, environ={"MARKS": str(marks)}, cwd=tmp_path
    )
    assert code == 0, (run.stderr, run.events)
    assert [event["status"] for event in run.all("job_ended")] == ["success"] * 3
    assert len(run.all("registered")) == 1
    by_agent = dict(line.split() for line in marks.read_text().splitlines())
    assert len(by_agent) == 3
    for event in run.all("job_started"):
        # agent-tui's figure ends at the entry, by the agent's clock.
        offered = next(each["ts"] for each in run.all("offer") if each["job_id"] == event["job_id"])
        ours = event["offer_to_entry_ms"] / 1000
        theirs = float(by_agent[event["job_id"]]) - offered
        assert ours - 0.25 <= theirs <= ours + 0.05
        assert event["dispatch_to_entry_ms"] > event["offer_to_entry_ms"]


async def test_an_entry_that_raises_is_a_failed_job() -> None:
    code, run = await finished(AGENTS / "native_raises.py", *TEST_JOBS, 1)
    assert code == 1
    (ended,) = run.all("job_ended")
    assert ended["status"] == "failed"
    assert ended["reason"].startswith("ValueError: no idea what to do in")
    assert ended["ended_by"] == "crash"
    assert f'File "{AGENTS / "native_raises.py"}", line 5, in entry' in ended["traceback"]
    assert "ValueError: no idea what to do in" in ended["traceback"]


@sdk_in_turn()
async def test_a_failed_job_and_one_that_joins_its_room(sdk_python: Path, tmp_path: Path) -> None:
    """The job that finds no mark raises, the other one joins its room, twice."""
    agent = tmp_path / "agent.py"
    agent.write_text(
        "import asyncio, os\nfrom livekit.agents import AgentServer, cli\nserver = AgentServer()\n"
        "@server.rtc_session()\nasync def entry(ctx):\n    try:\n        open('mark', 'x').close()\n"
        "    except FileExistsError:\n        pass\n    else:\n        raise ValueError('no idea')\n"
        "    await asyncio.sleep(0.2)\n"
        "    await ctx.connect()\n    await ctx.connect()\n    ctx.shutdown('said all')\n"
        "if __name__ == '__main__':\n    cli.run_app(server)\n"
    )
    code, run = await finished(agent, *TEST_JOBS, 2, "--python", sdk_python, cwd=tmp_path)
    assert code == 1
    (failed,) = [each for each in run.all("job_ended") if each["status"] == "failed"]
    assert failed["reason"] == "ValueError: no idea"
    assert f'File "{agent}", line 11, in entry' in failed["traceback"]
    (connected,) = run.all("job_connected")
    (ended,) = [each for each in run.all("job_ended") if each is not failed]
    assert connected["job_id"] == ended["job_id"]
    assert 200 <= connected["entry_to_connected_ms"] <= ended["seconds"] * 1000
    assert (ended["status"], ended["reason"]) == ("success", "said all")
    assert (ended["ended_by"], ended["exit_code"], ended["traceback"]) == ("order", 0, "")


async def test_a_job_is_ended_after_its_job_length() -> None:
    code, run = await finished(AGENTS / "native_waits.py", *TEST_JOBS, 2, "--job-length", "300ms")
    assert code == 0
    assert [event["status"] for event in run.all("job_ended")] == ["success"] * 2
    assert all("job length" in event["reason"] for event in run.all("job_ended"))


async def test_a_rejected_offer_is_a_lost_dispatch(tmp_path: Path) -> None:
    agent = tmp_path / "agent.py"
    agent.write_text("async def entry(ctx): ...\nasync def request_func(req):\n    await req.reject()\n")
    code, run = await finished(agent, *TEST_JOBS, 1)
    assert code == 1
    (lost,) = run.all("job_lost")
    assert "declined" in lost["why"]


async def test_a_failing_prewarm_is_a_failed_job_with_its_text() -> None:
    code, run = await finished(AGENTS / "native_prewarm_fails.py", *TEST_JOBS, 1)
    assert code == 1
    (ended,) = run.all("job_ended")
    assert ended["reason"] == "no process: OSError: the model is not there"


async def test_a_hanging_prewarm_is_reported_with_its_line_at_the_first_time_out() -> None:
    code, run = await finished(
        AGENTS / "native_prewarm_hangs.py", *TEST_JOBS, 1, "--initialize-process-timeout", "700ms"
    )
    assert code == 1
    at = "native_prewarm_hangs.py:7 in prewarm"
    why = f"prewarm still running after 700 ms at {at} (initializeProcessTimeout)"
    assert why in run.all("job_ended")[0]["reason"]
    first = run.all("starts_failing")[0]
    assert (first["failures"], first["error"], first["ended_by"]) == (1, why, "init_timeout")
    assert (first["file"], first["line"]) == (str(AGENTS / "native_prewarm_hangs.py"), 7)
    assert "in prewarm" in first["traceback"]


async def test_without_watchdogs_a_slow_prewarm_is_not_killed(tmp_path: Path) -> None:
    (tmp_path / "agent.py").write_text(
        "import time\n\ndef prewarm(proc):\n    time.sleep(0.8)\n\n"
        "async def entry(ctx):\n    ctx.shutdown('done')\n"
    )
    flags = ("--initialize-process-timeout", "300ms", "--no-watchdogs")
    code, run = await finished("agent.py", *TEST_JOBS, 1, *flags, cwd=tmp_path)
    assert code == 0, run.stderr


@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129), (signal.SIGQUIT, 131)],
)
async def test_a_signal_ends_everything_gracefully(number: signal.Signals, code: int) -> None:
    async with agent_tui(AGENTS / "native_waits.py", "--local", "--json", "--dispatch", 1) as run:
        await run.until("job_started")
        run.process.send_signal(number)
        assert await run.end() == code
        (ended,) = run.all("job_ended")
        assert ended["status"] == "terminated"
        assert number.name in ended["reason"]
        assert any(event["text"] == "slow callback" for event in run.all("log"))
        assert run.names[-1] == "stopped"


async def test_a_second_signal_kills() -> None:
    async with agent_tui(AGENTS / "native_blocks.py", "--local", "--json", "--dispatch", 1) as run:
        await run.until("job_started")
        run.process.send_signal(signal.SIGINT)
        await run.until("stopping")
        begin = time.monotonic()
        run.process.send_signal(signal.SIGINT)
        assert await run.end() == 130
        assert time.monotonic() - begin < 8  # shutdownProcessTimeout is 10 s


@pytest.mark.parametrize("agent", ["native_waits.py", "native_blocks.py"])
async def test_no_process_survives_kill_9(agent: str) -> None:
    async with agent_tui(AGENTS / agent, "--local", "--json", "--dispatch", 1) as run:
        await run.until("job_started")
        run.process.kill()
        await run.end()
        await left_at_most(0, run.mark)


async def test_a_file_that_does_not_load_waits_for_a_save_and_then_serves(tmp_path: Path) -> None:
    agent = tmp_path / "agent.py"
    agent.write_text("async def entry(ctx)\n    pass\n")
    async with agent_tui(agent, "--local", "--json", "--dispatch", 1) as run:
        failed = await run.until("generation_failed")
        assert (failed["file"], failed["line"]) == (str(agent), 1)
        assert failed["error"].startswith("SyntaxError")
        fixed = tmp_path / "fixed"
        save(fixed, "async def entry(ctx):\n    print('fixed')\n")
        fixed.rename(agent)
        ready = await run.until("generation_ready")
        assert ready["cause"] == str(agent)
        assert 0 < ready["seconds"] < 10
        await run.until("job_ended", status="success")


async def test_a_file_that_does_not_load_ends_a_run_that_watches_nothing() -> None:
    code, run = await finished(AGENTS / "raises_at_import.py", "--local", "--json", "--no-watch")
    assert code == 1
    assert "failed to load" in run.stderr
    assert "KeyError" in run.stderr
    assert "Traceback" not in run.stderr


async def test_buffered_output_of_a_job_arrives_while_it_runs() -> None:
    async with agent_tui(AGENTS / "native_waits.py", "--local", "--json", "--dispatch", 1) as run:
        started = await run.until("job_started")
        line = await run.until("log", text="waiting")
        assert line["job_id"] == started["job_id"]
        assert line["source"].endswith(":stdout")


async def test_environment_files_reach_options_and_children(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("LIVEKIT_AGENT_NAME=from-env-file\nMINE=42\nLIVEKIT_URL=ws://nowhere:1\n")
    agent = tmp_path / "agent.py"
    agent.write_text(
        "import os\nasync def entry(ctx):\n"
        "    print(os.environ['MINE'], os.environ['LIVEKIT_URL'], ctx.url)\n"
    )
    async with agent_tui(agent, "--local", "--json", "--dispatch", 1, cwd=Path("/")) as run:
        registered = await run.until("registered", agent_name="from-env-file")
        url = registered["url"]
        await run.until("log", text=f"42 {url} {url}")


async def test_a_named_agent_gets_an_explicit_dispatch() -> None:
    code, run = await finished(EXAMPLES / "native_agent.py", *TEST_JOBS, 1, "--agent-name", "bob")
    assert code == 0
    assert run.all("registered")[0]["agent_name"] == "bob"
    assert run.all("dispatched")[0]["dispatch_id"].startswith("AD_")


async def test_without_idle_processes_each_job_starts_one(tmp_path: Path) -> None:
    agent = tmp_path / "agent.py"
    agent.write_text(
        "import time\n"
        "def prewarm(proc):\n    time.sleep(0.5)\n"  # so that no process is ready before it is needed
        "async def entry(ctx):\n    ctx.shutdown('done')\n"
    )
    code, run = await finished(agent, *TEST_JOBS, 2, "--num-idle-processes", 0)
    assert code == 0
    assert [event["warm"] for event in run.all("job_started")] == [False, False]
    states = [event["state"] for event in run.all("process") if event["kind"] == "job"]
    assert states.count("starting") == 2


@sdk_in_turn()
async def test_inference_runners_answer_jobs(sdk_python: Path) -> None:
    code, run = await finished(AGENTS / "sdk_runner.py", *TEST_JOBS, 1, "--python", sdk_python)
    assert code == 0, run.events
    assert any(event["kind"] == "inference" for event in run.all("process"))


@sdk_in_turn()
async def test_a_load_function_sees_the_running_jobs_and_no_process_survives_kill_9(
    sdk_python: Path, tmp_path: Path
) -> None:
    agent = tmp_path / "agent.py"
    agent.write_text(
        "import asyncio\nfrom livekit.agents import AgentServer, cli\n"
        "def load(server):\n    print('jobs', len(server.active_jobs), server.id[:3], flush=True)\n"
        "    return 0.0\n"
        "server = AgentServer(load_fnc=load)\n"
        "@server.rtc_session()\nasync def entry(ctx):\n    await asyncio.Event().wait()\n"
        "if __name__ == '__main__':\n    cli.run_app(server)\n"
    )
    arguments = (agent, "--local", "--json", "--dispatch", 1, "--python", sdk_python)
    async with agent_tui(*arguments) as run:
        await run.until("log", text="jobs 1 AW_")
        run.process.kill()
        await run.end()
        await left_at_most(0, run.mark)


async def test_an_idle_process_that_is_killed_is_replaced() -> None:
    async with agent_tui(AGENTS / "native_short.py", "--local", "--json") as run:
        idle = await run.until("process", state="idle")
        os.kill(idle["pid"], signal.SIGKILL)
        ended = await run.until("process", state="ended", pid=idle["pid"])
        assert (ended["signal"], ended["exit_code"]) == (9, None)
        await run.until("process", 2, state="idle")


async def test_stdout_has_only_data_and_a_closed_pipe_is_no_error(tmp_path: Path) -> None:
    async with agent_tui(EXAMPLES / "native_agent.py", "--local", "--json") as run:
        assert run.process.stdout is not None
        await run.until("registered")
        run.process.stdout._transport.close()  # type: ignore[attr-defined]
        async with asyncio.timeout(20):
            await run.process.wait()
        assert run.process.returncode == 0


async def test_lines_for_people_without_json() -> None:
    code, run = await _lines(EXAMPLES / "native_agent.py", "--local", "--dispatch", 1, "--exit-when-idle")
    assert code == 0
    assert "● registered for every new room" in run
    assert re.search(r"✓ \S+ succeeded after .* · AJ_", run)
    assert run.rstrip().endswith("stopped")


async def _lines(*arguments: object) -> tuple[int, str]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "agent_tui", *map(str, arguments)),
        stdout=asyncio.subprocess.PIPE,
        env={**ENVIRON, "LANG": "C.UTF-8"},
    )
    output, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, output.decode()


async def test_text_that_no_message_can_carry_does_not_hang(tmp_path: Path) -> None:
    agent = tmp_path / "agent.py"
    agent.write_text("async def entry(ctx):\n    raise ValueError('caf\\udce9')\n")
    code, run = await finished(agent, *TEST_JOBS, 1)
    assert code == 1
    assert run.all("job_ended")[0]["reason"] == "ValueError: caf\ufffd"


async def test_without_a_reader_of_stdout_jobs_run_and_the_command_ends() -> None:
    async with agent_tui(AGENTS / "native_flood.py", "--local", "--json", "--dispatch", 1) as run:
        await run.until("job_started")
        await asyncio.sleep(2)  # its lines fill the pipe, and nothing reads them
        run.process.send_signal(signal.SIGINT)
        await left_at_most(1, run.mark)  # the host may print more
        await run.end()


async def test_a_fix_saved_while_the_broken_file_loads_replaces_it(tmp_path: Path) -> None:
    agent = tmp_path / "agent.py"
    agent.write_text("import time\ntime.sleep(1.5)\nraise RuntimeError('not yet')\n")
    async with agent_tui(agent, "--local", "--json") as run:
        await run.until("process", kind="control", state="starting")
        await asyncio.sleep(0.7)
        save(agent, "async def entry(ctx): ...\n")
        await run.until("generation_ready")
    assert not run.all("generation_failed")


async def test_an_unreadable_folder_does_not_stop_the_watch(tmp_path: Path) -> None:
    closed = tmp_path / "pgdata"
    closed.mkdir(mode=0o000)
    agent = tmp_path / "agent.py"
    agent.write_text("broken(\n")
    try:
        async with agent_tui(agent, "--local", "--json") as run:
            await run.until("generation_failed")
            save(agent, "async def entry(ctx): ...\n")
            await run.until("generation_ready")
    finally:
        closed.chmod(0o755)


async def test_modules_that_only_the_file_makes_importable_are_accepted(tmp_path: Path) -> None:
    for folder, name in (("lib", "mylib.py"), ("real", "neighbour.py")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / name).write_text("WORD = 'found'\n")
    agent = tmp_path / "real/agent.py"
    agent.write_text(
        "import os, sys\n"
        "sys.path.insert(0, os.path.join(os.path.dirname(os.path.realpath(__file__)), '..', 'lib'))\n"
        "import mylib\nimport neighbour\n"
        "async def entry(ctx):\n    print(mylib.WORD, neighbour.WORD)\n"
    )
    link = tmp_path / "link.py"
    link.symlink_to(agent)
    for file in (agent, link):
        code, run = await finished(file, *TEST_JOBS, 1)
        assert code == 0, run.stderr
        assert any(event["text"] == "found found" for event in run.all("log"))


async def test_a_prewarm_that_fails_for_a_while_loses_no_job(tmp_path: Path) -> None:
    file = tmp_path / "agent.py"
    file.write_text(
        "import os\n\ndef prewarm(proc):\n    if not os.path.exists('up'):\n        raise OSError\n\n"
        "async def entry(ctx):\n    ctx.shutdown('done')\n"
    )
    async with agent_tui(file, *TEST_JOBS, 3, "--no-watch", cwd=tmp_path) as run:
        await run.until("starts_failing", failures=3)
        await run.until("offer", count=3)
        (tmp_path / "up").touch()
        assert await run.end() == 0
        assert len(run.all("starts_recovered")) == 1
        assert [e["status"] for e in run.all("job_ended")] == ["success"] * 3


async def test_offers_are_refused_until_a_process_becomes_ready(tmp_path: Path) -> None:
    file = tmp_path / "agent.py"
    entry = "async def entry(ctx):\n    ctx.shutdown('done')\n"
    file.write_text("def prewarm(proc):\n    raise OSError('no model')\n\n" + entry)
    async with agent_tui(file, "--local", "--json", cwd=tmp_path) as run:
        failed = await run.until("generation_failed")
        assert (failed["generation"], failed["error"], failed["line"]) == (1, "OSError: no model", 2)
        url = (await run.until("http"))["url"]
        await run.until("starts_failing", accepting=False)
        async with aiohttp.ClientSession() as session, session.get(url) as response:
            assert response.status == 503
            assert "no model" in await response.text()
        save(file, entry)
        await run.until("generation_ready", generation=2)
        async with aiohttp.ClientSession() as session, session.get(url) as response:
            assert response.status == 200
