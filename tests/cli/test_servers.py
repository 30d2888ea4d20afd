"""The command and the server: which one it uses, refused credentials, and reconnecting."""

import asyncio
import json
import os
import shutil
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from livekit import api

from tests.cli.support import AGENTS, ENVIRON, EXAMPLES, Run, agent_tui, finished
from tests.sdks import each_sdk

pytestmark = pytest.mark.real

KEY, SECRET = "APItestkey", "a-secret-that-is-long-enough-to-be-one"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@asynccontextmanager
async def server(port: int) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run `agent-tui server` in its own process."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "agent_tui", "server", "--json", "--port", str(port)),
        *("--api-key", KEY, "--api-secret", SECRET),
        stdout=asyncio.subprocess.PIPE,
        env=ENVIRON,
    )
    assert process.stdout is not None
    first = json.loads(await process.stdout.readline())
    assert first == {
        "event": "listening",
        "url": f"ws://127.0.0.1:{port}",
        "api_key": KEY,
        "api_secret": SECRET,
    }
    try:
        yield process
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


def at(port: int, key: str = KEY, secret: str = SECRET) -> dict[str, str]:
    return {
        "LIVEKIT_URL": f"ws://127.0.0.1:{port}",
        "LIVEKIT_API_KEY": key,
        "LIVEKIT_API_SECRET": secret,
    }


async def test_the_server_command_serves_a_worker_and_ends_by_signal() -> None:
    port = free_port()
    async with server(port) as process:
        arguments = (AGENTS / "native_short.py", "--json", "--dispatch", 1, "--exit-when-idle")
        code, run = await finished(*arguments, environ=at(port))
        assert code == 0
        assert run.all("server")[0]["kind"] == "configured"
        process.send_signal(signal.SIGTERM)
        assert await process.wait() == 143


async def test_jobs_survive_a_restart_of_the_server_and_the_worker_reconnects() -> None:
    port = free_port()
    arguments = (AGENTS / "native_waits.py", "--json", "--dispatch", 1)
    async with server(port) as first, agent_tui(*arguments, environ=at(port)) as run:
        started = await run.until("job_started")
        first.kill()
        lost = await run.until("disconnected")
        assert lost["retry_in_s"] > 0
        async with server(port):
            await run.until("registered", 2)
            assert run.all("job_ended") == []
            os.kill(started["pid"], 0)
            run.process.send_signal(signal.SIGINT)
            assert await run.end() == 130
            assert run.all("job_ended")[0]["status"] == "terminated"


async def test_deleting_a_dispatch_ends_its_job_and_only_that() -> None:
    port = free_port()
    arguments = (AGENTS / "native_waits.py", "--json", "--agent-name", "bob", "--dispatch", 2)
    async with server(port), agent_tui(*arguments, environ=at(port)) as run:
        await run.until("job_started", 2)
        first = run.all("dispatched")[0]
        client = api.LiveKitAPI(f"ws://127.0.0.1:{port}", KEY, SECRET)
        try:
            await client.agent_dispatch.delete_dispatch(first["dispatch_id"], first["room"])
        finally:
            await client.aclose()
        ended = await run.until("job_ended", room=first["room"])
        assert (ended["status"], ended["reason"]) == ("terminated", "terminated by the server")
        assert len(run.all("job_ended")) == 1


@pytest.mark.parametrize(
    ("key", "secret", "names"),
    [(KEY, "another-secret-that-is-long-enough", "API_SECRET"), ("APIother", SECRET, "API_KEY")],
)
async def test_refused_credentials_are_named_and_not_retried(key: str, secret: str, names: str) -> None:
    port = free_port()
    async with server(port):
        code, run = await finished(EXAMPLES / "native_agent.py", "--json", environ=at(port, key, secret))
        assert code == 3
        assert f"LIVEKIT_{names} in the environment" in run.stderr
        assert run.stderr.count("\n") == 1
        assert secret not in run.stderr + json.dumps(run.events)
        [refused] = run.all("disconnected")
        assert f"LIVEKIT_{names} in the environment" in refused["todo"]
        assert "check" not in refused["reason"]


async def test_the_advice_names_the_file_that_set_the_key(tmp_path: Path) -> None:
    port = free_port()
    agent = tmp_path / "agent.py"
    agent.write_text((EXAMPLES / "native_agent.py").read_text())
    (tmp_path / ".env").write_text(f"# keys\nLIVEKIT_API_KEY=APIother\nLIVEKIT_API_SECRET={SECRET}\n")
    async with server(port):
        environ = {"LIVEKIT_URL": at(port)["LIVEKIT_URL"]}
        code, run = await finished(agent, "--json", environ=environ)
        assert code == 3
        [refused] = run.all("disconnected")
        assert "does not know the API key 'APIother'" in refused["reason"]
        assert "LIVEKIT_API_KEY in " in refused["todo"]
        assert ".env:2" in refused["todo"]


async def test_an_unknown_host_is_named() -> None:
    environ = at(free_port()) | {"LIVEKIT_URL": "ws://no-such-host.invalid:7880"}
    code, run = await finished(EXAMPLES / "native_agent.py", "--json", "--max-retry", 0, environ=environ)
    assert code == 3
    [lost] = run.all("disconnected")
    assert "host name 'no-such-host.invalid'" in lost["reason"]
    assert lost["todo"].startswith("check LIVEKIT_URL in the environment (host)")


async def test_a_missing_server_is_abandoned_after_max_retry() -> None:
    arguments = (EXAMPLES / "native_agent.py", "--json", "--max-retry", 0)
    code, run = await finished(*arguments, environ=at(free_port()))
    assert code == 3
    assert "nothing is listening on 127.0.0.1" in run.stderr
    [lost] = run.all("disconnected")
    assert lost["retry_in_s"] is None
    assert lost["reason"].startswith("nothing is listening on 127.0.0.1:")
    assert lost["todo"] == "start the server, or check LIVEKIT_URL in the environment (host and port)"


async def test_a_signal_during_a_backoff_ends_at_once() -> None:
    async with agent_tui(EXAMPLES / "native_agent.py", "--json", environ=at(free_port())) as run:
        await run.until("disconnected")
        run.process.send_signal(signal.SIGINT)
        async with asyncio.timeout(3):
            assert await run.end() == 130


FAULT = """
import sys
from agent_tui.engine.registrar import Registrar
def broken(self):
    raise RuntimeError("a part broke")
Registrar.drain = broken
from agent_tui.cli.main import main
main(sys.argv[1:])
"""


async def test_a_part_that_fails_at_the_end_is_reported_and_delays_nothing() -> None:
    arguments = (AGENTS / "native_waits.py", "--json", "--local", "--dispatch", 1)
    async with agent_tui(*arguments, program=("-c", FAULT)) as run:
        await run.until("job_started")
        run.process.send_signal(signal.SIGINT)
        assert await run.end() == 1
        assert run.stderr == "agent-tui: internal error (registrar): RuntimeError: a part broke\n"
        assert run.all("job_ended")[0]["status"] == "terminated"
        assert run.names[-1] == "stopped"


async def test_a_worker_registers_again_after_an_internal_error() -> None:
    fault = FAULT.replace("engine.registrar", "jobs.manager").replace("Registrar.drain", "JobManager.offer")
    fault = fault.replace("Registrar", "JobManager").replace("(self)", "(self, offer, worker, test)")
    arguments = (AGENTS / "native_waits.py", "--json", "--local", "--dispatch", 1)
    async with agent_tui(*arguments, program=("-c", fault)) as run:
        await run.until("disconnected")
        await run.until("registered", 2)
        run.process.send_signal(signal.SIGINT)
        assert await run.end() == 130
    why = "internal error (worker): RuntimeError: a part broke"
    assert run.all("disconnected")[0]["reason"] == why
    assert run.stderr == ""


@pytest.mark.parametrize(
    ("arguments", "environ", "says"),
    [
        (("nowhere.py",), {}, "no such file: nowhere.py"),
        ((AGENTS,), {}, "is a folder"),
        ((EXAMPLES / "native_agent.py", "--port", "99999"), {}, "'99999' (--port) is above 65535"),
        ((EXAMPLES / "native_agent.py", "--log-level", "loud"), {}, "give one of trace"),
        ((EXAMPLES / "native_agent.py", "--dispatch", "-1"), {}, "--dispatch: '-1' is below 0"),
        ((EXAMPLES / "native_agent.py", "--unheard-of"), {}, "No such option '--unheard-of'"),
        ((EXAMPLES / "native_agent.py", "--api-secret", "@/nonexistent"), {}, "cannot read /nonexistent"),
        ((EXAMPLES / "native_agent.py",), {"LOG_LEVEL": "loud"}, "LOG_LEVEL in the environment"),
        (
            (EXAMPLES / "native_agent.py",),
            {"LIVEKIT_URL": "ftp://example.com", "LIVEKIT_API_KEY": "k", "LIVEKIT_API_SECRET": "s"},
            "ftp://example.com",
        ),
        (
            (EXAMPLES / "native_agent.py", "--ws-url", "ws://[::1"),
            {},
            "it has no usable host and port; give an address",
        ),
        ((EXAMPLES / "native_agent.py", "--ws-url", "foo"), {}, "must start with ws://"),
        ((EXAMPLES / "livekit_agent.py", "--python", "/usr/bin/env"), {}, "livekit"),
    ],
)
async def test_bad_usage_gives_one_line_and_exit_code_2(
    arguments: tuple[object, ...], environ: dict[str, str], says: str
) -> None:
    code, run = await finished(*arguments, "--json", environ=environ)
    assert code == 2
    assert says in run.stderr
    assert run.stderr.startswith("agent-tui: ")
    assert run.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("arguments", "environ"),
    [
        ((), {"LIVEKIT_URL": "ws://example.com"}),
        (("--ws-url", "wss://example.com", "--worker-token", "t"), {}),
    ],
)
async def test_missing_credentials_end_like_refused_ones(
    arguments: tuple[str, ...], environ: dict[str, str]
) -> None:
    code, run = await finished(EXAMPLES / "native_agent.py", *arguments, "--json", environ=environ)
    assert code == 3
    assert "generation_failed" not in run.names
    (refused,) = run.all("disconnected")
    assert refused["refused"]
    assert refused["reason"].startswith("no API key for ")
    assert run.stderr == f"agent-tui: {refused['reason']}; {refused['todo']}\n"


async def test_no_agent_file_in_the_folder(tmp_path: Path) -> None:
    code, run = await finished("--json", cwd=tmp_path)
    assert code == 2
    assert "name it, as in agent-tui path/to/agent.py" in run.stderr


async def test_agent_py_in_the_folder_is_found(tmp_path: Path) -> None:
    shutil.copy(AGENTS / "native_waits.py", tmp_path / "agent.py")
    async with agent_tui("--json", "--local", cwd=tmp_path) as run:
        await run.until("registered")
        assert run.all("starting")[0]["agent"] == str(tmp_path / "agent.py")


async def test_a_busy_port_gives_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        code, run = await finished(EXAMPLES / "native_agent.py", "--json", "--local", "--port", port)
    assert code == 2
    assert f"127.0.0.1:{port} is in use" in run.stderr
    assert run.stderr.count("\n") == 1


@pytest.mark.parametrize("confirmed", [(), ("--allow-remote", "other.example")])
async def test_nothing_is_dispatched_on_a_remote_server_that_is_not_confirmed(
    confirmed: tuple[str, ...],
) -> None:
    environ = {
        "LIVEKIT_URL": "wss://my.livekit.example",
        "LIVEKIT_API_KEY": "k",
        "LIVEKIT_API_SECRET": "s",
    }
    arguments = (EXAMPLES / "native_agent.py", "--json", "--dispatch", 1, *confirmed)
    code, run = await finished(*arguments, environ=environ)
    assert code == 2
    assert "my.livekit.example" in run.stderr
    assert run.all("dispatched") == []


async def test_health_and_worker_information_over_http() -> None:
    import aiohttp

    async with agent_tui(AGENTS / "native_waits.py", "--json", "--local", "--dispatch", 1) as run:
        url = (await run.until("http"))["url"]
        await run.until("job_started")
        async with aiohttp.ClientSession() as session:
            async with session.get(url) as answer:
                assert (answer.status, await answer.text()) == (200, "OK")
            async with session.get(f"{url}/worker") as answer:
                info = await answer.json()
        assert (info["worker_type"], info["active_jobs"]) == ("JT_ROOM", 1)


# -- a real livekit-server -------------------------------------------------------------------------------


def real_server() -> dict[str, str]:
    """Return the environment for a real server; skip without one. tests/conformance can start one."""
    url = os.environ.get("LIVEKIT_SERVER_URL")
    if not url:
        pytest.skip("no real server: set LIVEKIT_SERVER_URL (and …_API_KEY, …_API_SECRET)")
    return {
        "LIVEKIT_URL": url,
        "LIVEKIT_API_KEY": os.environ.get("LIVEKIT_SERVER_API_KEY", "devkey"),
        "LIVEKIT_API_SECRET": os.environ.get("LIVEKIT_SERVER_API_SECRET", "secret"),
    }


@each_sdk()
@pytest.mark.parametrize("name", ["", "named-agent"])
@pytest.mark.filterwarnings("ignore::jwt.InsecureKeyLengthWarning")
async def test_explicit_and_implicit_dispatch_on_a_real_server(sdk_python: Path, name: str) -> None:
    environ = real_server()
    arguments = (EXAMPLES / "livekit_agent.py", "--json", "--python", sdk_python, "--agent-name", name)
    async with agent_tui(*arguments, environ=environ) as run:
        await run.until("registered", agent_name=name)
        room = f"room-{free_port()}"
        client = api.LiveKitAPI(
            environ["LIVEKIT_URL"], environ["LIVEKIT_API_KEY"], environ["LIVEKIT_API_SECRET"]
        )
        try:
            if name:
                request = api.CreateAgentDispatchRequest(agent_name=name, room=room)
                await client.agent_dispatch.create_dispatch(request)
            else:
                await client.room.create_room(api.CreateRoomRequest(name=room))
            await run.until("job_started", room=room)
            await run.until("job_ended", room=room, status="success", reason="call finished")
            await client.room.delete_room(api.DeleteRoomRequest(room=room))
        finally:
            await client.aclose()


@each_sdk()
async def test_test_jobs_on_a_real_server_join_their_rooms(sdk_python: Path) -> None:
    arguments = (EXAMPLES / "livekit_agent.py", "--json", "--python", sdk_python, "--dispatch", 2)
    code, run = await finished(*arguments, "--exit-when-idle", environ=real_server())
    assert code == 0
    assert run.all("server")[0]["media"] is True
    assert [event["status"] for event in run.all("job_ended")] == ["success"] * 2


STAYS = """
import asyncio
from livekit.agents import AgentServer, JobContext, cli
VERSION = "one"
server = AgentServer()

@server.rtc_session()
async def entry(ctx: JobContext):
    await ctx.connect()
    print("connected on", VERSION, "as", ctx.room.local_participant.identity, flush=True)

if __name__ == "__main__":
    cli.run_app(server)
"""


@each_sdk()
@pytest.mark.filterwarnings("ignore::jwt.InsecureKeyLengthWarning")
async def test_a_restarted_job_rejoins_its_room_as_the_same_participant(
    tmp_path: Path, sdk_python: Path
) -> None:
    environ = real_server()
    file = tmp_path / "agent.py"
    file.write_text(STAYS)
    arguments = (file, "--json", "--python", sdk_python, "--on-reload", "restart")
    client = api.LiveKitAPI(environ["LIVEKIT_URL"], environ["LIVEKIT_API_KEY"], environ["LIVEKIT_API_SECRET"])
    room = f"room-{free_port()}"

    async def agents() -> dict[str, str]:
        answer = await client.room.list_participants(api.ListParticipantsRequest(room=room))
        return {each.sid: each.identity for each in answer.participants}

    async with client, agent_tui(*arguments, environ=environ) as run:
        await run.until("registered")
        await client.room.create_room(api.CreateRoomRequest(name=room))
        before = await run.until("job_started", room=room)
        first = await said(run, "one")
        [(old_sid, identity)] = (await agents()).items()
        assert first.endswith(identity)
        file.write_text(STAYS.replace('"one"', '"two"'))
        after = await run.until("job_started", restarts=1)
        assert (after["job_id"], after["generation"]) == (before["job_id"], 2)
        assert (await said(run, "two")).endswith(identity)
        await asyncio.sleep(2)  # by now the server would have ended the job of the old participant
        [(new_sid, same)] = (await agents()).items()
        assert (same, new_sid == old_sid) == (identity, False)
        assert not run.all("job_ended")
        await client.room.delete_room(api.DeleteRoomRequest(room=room))
        end = await run.until("job_ended", room=room)
        assert end["generation"] == 2


async def said(run: Run, version: str) -> str:
    """Wait for the job's line that it is in the room."""
    async with asyncio.timeout(30):
        while True:
            for event in run.all("log"):
                if event["text"].startswith(f"connected on {version} as "):
                    return str(event["text"])
            await run._read()
