"""The effect of each option, checked from outside. docs/options.md lists these."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import psutil
from livekit.protocol import agent

from tests.limits import PATIENCE_S
from tests.options.outside.rig import PORT, Rig


@dataclass(frozen=True)
class Case:
    """A value of an option, as typed, and how to check its effect from outside."""

    option: str
    value: str
    seen: str
    """The checked effect, for docs/options.md."""
    check: Callable[[Rig], Awaitable[None]]
    code: str = ""
    """The argument that a livekit-agents file passes for it; empty where none exists."""
    session: bool = False
    """Whether the argument belongs to the session's decorator."""
    flags: tuple[str, ...] = ()
    """Other flags that the effect requires."""
    environ: dict[str, str] = field(default_factory=dict)
    before: tuple[str, ...] = ()
    """Flags for an edit: values that must differ before it."""
    edits: dict[str, str] = field(default_factory=dict)
    """Other options that are edited at the same time."""
    sdk: bool = False
    """Whether only the SDK has this option."""


# -- on the wire ----------------------------------------------------------------------------------------


def registers(field_name: str, value: Any) -> Callable[[Rig], Awaitable[None]]:
    async def check(rig: Rig) -> None:
        register = (await rig.recorder.registered()).register
        for name in field_name.split("."):
            register = getattr(register, name)
        assert register == value

    return check


async def comes_here(rig: Rig) -> None:
    await rig.recorder.registered()


async def comes_with_key(rig: Rig) -> None:
    assert (await rig.recorder.registered()).key == "tested-key"


async def comes_signed(rig: Rig) -> None:
    assert (await rig.recorder.registered()).is_signed_with("tested-secret-that-is-long-enough-for-it")


async def comes_with_token(rig: Rig) -> None:
    assert (await rig.recorder.registered()).query["worker_token"] == ["tested-token"]


async def rejects(rig: Rig) -> None:
    worker = await rig.recorder.registered()
    assert await rig.recorder.offer(worker, "AJ_1") is False


def reports(status: Any) -> Callable[[Rig], Awaitable[None]]:
    async def check(rig: Rig) -> None:
        worker = await rig.recorder.registered()
        await rig.recorder.until(
            lambda: any(
                m.HasField("update_worker") and m.update_worker.status == status for m in worker.messages
            )
        )

    return check


# -- in the process table -----------------------------------------------------------------------------


async def three_idle(rig: Rig) -> None:
    await rig.run.until("process", kind="job", state="idle", count=3)
    idle = {e["pid"] for e in rig.run.all("process") if e["kind"] == "job" and e["state"] == "idle"}
    assert len(idle) == 3
    gone = [pid for pid in idle if not psutil.pid_exists(pid)]
    assert not gone, [e for e in rig.run.events if e["event"] != "log"]


async def prewarm_is_cut_off(rig: Rig) -> None:
    ended = await rig.run.until("process", kind="job", state="ended")
    assert "700 ms" in ended["reason"]
    assert not psutil.pid_exists(ended["pid"])


async def over_the_limit_is_killed(rig: Rig) -> None:
    breach = await rig.run.until("memory_limit")
    assert breach["limit_mb"] == 9
    ended = await rig.run.until("process", kind="job", state="ended", pid=breach["pid"])
    assert "memory limit" in ended["reason"]
    assert not psutil.pid_exists(ended["pid"])


async def is_warned_of(rig: Rig) -> None:
    assert (await rig.run.until("memory_warning"))["warn_mb"] == 9


# -- by the clock ---------------------------------------------------------------------------------------


async def running_job(rig: Rig) -> None:
    worker = await rig.recorder.registered()
    assert await rig.recorder.offer(worker, "AJ_1")
    await rig.run.until("job_started")


async def hanging_callback_is_cut_off(rig: Rig) -> None:
    await running_job(rig)
    rig.terminate()
    ended = await rig.run.until("job_ended")
    assert "within 600 ms" in ended["reason"]


async def hanging_session_end_is_cut_off(rig: Rig) -> None:
    await running_job(rig)
    rig.terminate()
    await rig.run.until("job_ended")  # `until` waits for less than the callback does


async def running_job_is_given_time(rig: Rig) -> None:
    await running_job(rig)
    began = time.monotonic()
    rig.terminate()
    assert (await rig.run.until("stopping"))["drain_s"] == 0.8
    await rig.run.until("job_ended", status="terminated")
    assert time.monotonic() - began >= 0.8


async def gives_up_at_once(rig: Rig) -> None:
    assert await rig.run.end() == 3
    assert "127.0.0.1:1" in rig.run.stderr


# -- over HTTP, and in what it prints -----------------------------------------------------------------


async def get(rig: Rig, path: str) -> str:
    await rig.run.until("registered")
    url = rig.run.all("http")[-1]["url"]
    async with aiohttp.ClientSession() as session, session.get(url + path) as response:
        return await response.text()


async def listens_there(rig: Rig) -> None:
    await rig.run.until("registered")
    assert rig.run.all("http")[-1]["url"].startswith("http://127.0.0.2:")
    assert "agent_name" in await get(rig, "/worker")


async def listens_on_port(rig: Rig) -> None:
    await rig.run.until("registered")
    assert rig.run.all("http")[-1]["url"].endswith(f":{rig.port}")
    assert "agent_name" in await get(rig, "/worker")


async def load_is_its_own(rig: Rig) -> None:
    await rig.recorder.registered()
    async with asyncio.timeout(PATIENCE_S):
        while "agent_tui_measured_load 0.9" not in await get(rig, "/metrics"):  # noqa: ASYNC110  it is polled
            await asyncio.sleep(0.1)


async def only_errors_are_shown(rig: Rig) -> None:
    await running_job(rig)
    await rig.run.until("log", text="an error line")
    assert not [e for e in rig.run.all("log") if e["text"] == "an info line"]


async def runs_as_started(rig: Rig) -> None:
    await rig.run.until("log", text="loaded by start")


async def ends_on_a_save(rig: Rig) -> None:
    await running_job(rig)
    rig.save()
    assert (await rig.run.until("job_ended"))["reason"].startswith("--on-reload end: generation 2")


async def is_pinned(rig: Rig) -> None:
    await running_job(rig)
    assert (await rig.run.until("job_pinned"))["pinned"] is True


async def that_file_runs(rig: Rig) -> None:
    starting = await rig.run.until("starting")
    assert starting["agent"].endswith("/other.py")
    await rig.recorder.registered()


FULL = agent.WorkerStatus.Value("WS_FULL")
PUBLISHER = agent.JobType.Value("JT_PUBLISHER")

CASES: tuple[Case, ...] = (
    Case("agent", "other.py", "that file is loaded and registers", that_file_runs),
    Case(
        "agentName",
        "tested",
        "`agent_name` of the registration",
        registers("agent_name", "tested"),
        code='agent_name="tested"',
        session=True,
    ),
    Case("wsURL", "", "the worker connects there", comes_here, code="ws_url='{url}'"),
    Case(
        "apiKey",
        "tested-key",
        "issuer of the connection's token",
        comes_with_key,
        code='api_key="tested-key"',
    ),
    Case(
        "apiSecret",
        "tested-secret-that-is-long-enough-for-it",
        "signature of the connection's token",
        comes_signed,
        code='api_secret="tested-secret-that-is-long-enough-for-it"',
    ),
    Case("workerToken", "tested-token", "`worker_token` of the connection's URL", comes_with_token),
    Case("deployment", "blue", "`deployment` of the registration", registers("deployment", "blue")),
    Case(
        "serverType",
        "publisher",
        "`type` of the registration",
        registers("type", PUBLISHER),
        code="type=WorkerType.PUBLISHER",
        session=True,
    ),
    Case(
        "permissions",
        "hidden=true,canPublish=false,canPublishSources=camera",
        "`allowed_permissions` of the registration, and the token's claims on a real server",
        registers("allowed_permissions.hidden", value=True),
        code="permissions=WorkerPermissions(hidden=True)",
    ),
    Case(
        "requestFunc",
        "picky",
        "the answer to an offer",
        rejects,
        code="on_request=picky",
        session=True,
    ),
    Case("loadFunc", "busy", "the load reported by `/metrics`", load_is_its_own, code="load_fnc=busy"),
    Case(
        "loadThreshold", "0", "the status that the worker reports", reports(FULL), code="load_threshold=0.0"
    ),
    Case(
        "numIdleProcesses",
        "3",
        "idle processes in the process table",
        three_idle,
        code="num_idle_processes=3",
    ),
    Case(
        "initializeProcessTimeout",
        "700ms",
        "a prewarm that hangs is killed",
        prewarm_is_cut_off,
        code="initialize_process_timeout=0.7",
        environ={"PREWARM_S": "60"},
        before=("--num-idle-processes=0",),
        edits={"numIdleProcesses": "1"},
    ),
    Case(
        "shutdownProcessTimeout",
        "600ms",
        "a process whose shutdown callback hangs is killed",
        hanging_callback_is_cut_off,
        code="shutdown_process_timeout=0.6",
        environ={"SLOW_END": "1"},
    ),
    Case(
        "sessionEndTimeout",
        "500ms",
        "a session-end callback that hangs is abandoned",
        hanging_session_end_is_cut_off,
        code="session_end_timeout=0.5",
        environ={"SLOW_SESSION_END": "1"},
        sdk=True,
    ),
    Case(
        "drainTimeout",
        "800ms",
        "how long a running job may continue when agent-tui stops",
        running_job_is_given_time,
        code="drain_timeout=0.8",
        flags=("--production", "--port=0", "--host=127.0.0.1"),
    ),
    Case("jobMemoryWarnMB", "9", "the event `memory_warning`", is_warned_of, code="job_memory_warn_mb=9"),
    Case(
        "jobMemoryLimitMB",
        "9",
        "the process ends, with the event `memory_limit`",
        over_the_limit_is_killed,
        code="job_memory_limit_mb=9",
    ),
    Case("onReload", "end", "a save ends the running job", ends_on_a_save),
    Case("pin", "true", "the event `job_pinned` of a new job", is_pinned),
    Case(
        "logLevel", "error", "lines below it are not printed", only_errors_are_shown, code='log_level="ERROR"'
    ),
    Case(
        "maxRetry",
        "0",
        "with no server running: the exit code, and how long agent-tui tries before it exits",
        gives_up_at_once,
        code="max_retry=0",
        flags=("--url=ws://127.0.0.1:1",),
    ),
    Case(
        "production",
        "true",
        "the file runs as `python agent.py start` would run it",
        runs_as_started,
        flags=("--port=0", "--host=127.0.0.1"),
    ),
    Case("host", "127.0.0.2", "where `/worker` answers", listens_there, code='host="127.0.0.2"'),
    Case("port", PORT, "where `/worker` answers", listens_on_port, code="port={port}"),
)
