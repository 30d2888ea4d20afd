"""Every option has its effect for an agents-js file, set in its code or outside.

Options whose effects can be seen side by side share a run, since each Node process costs a second of CPU.
"""

import time
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from agent_tui.options.declare import BY_NAME
from tests.cli.support import AGENTS, agent_tui, finished
from tests.nodes import needs_node, newest_node, project
from tests.options.outside import cases
from tests.options.outside.recorder import recording
from tests.options.outside.rig import KEYS, Rig, free_port, give
from tests.options.outside.test_outside import sources

pytestmark = [pytest.mark.real, pytest.mark.timeout(120), needs_node]

CODE = {
    "agentName": "agentName: 'tested'",
    "wsURL": "wsURL: '@URL'",
    "apiKey": "apiKey: 'tested-key'",
    "apiSecret": "apiSecret: 'tested-secret-that-is-long-enough-for-it'",
    "serverType": "serverType: 1",
    "permissions": "permissions: new WorkerPermissions(false, true, true, true, [], true)",
    "requestFunc": "requestFunc: picky",
    "loadFunc": "loadFunc: busy",
    "loadThreshold": "loadThreshold: 0",
    "numIdleProcesses": "numIdleProcesses: 3",
    "shutdownProcessTimeout": "shutdownProcessTimeout: 600",
    "sessionEndTimeout": "sessionEndTimeout: 500",
    "drainTimeout": "drainTimeout: 800",
    "jobMemoryWarnMB": "jobMemoryWarnMB: 9",
    "logLevel": "logLevel: 'error'",
    "host": "host: '127.0.0.2'",
    "port": "port: @PORT",
}
"""What the file passes to `new ServerOptions`; `agent`, `production` and `deployment` are not set there."""

ENDING = {
    "workerToken": "workerToken: 'tested-token'",
    "initializeProcessTimeout": "initializeProcessTimeout: 700",
    "jobMemoryLimitMB": "jobMemoryLimitMB: 10",
    "maxRetry": "maxRetry: 2",
}
"""Those under which the others show nothing; each is another value than its case's."""

HANGING = {"SLOW_END": "1", "SLOW_SESSION_END": "1"}
HANGS_S = 60
CASES = {case.option: case for case in cases.CASES}
SOURCE = {
    name: sources(case)[(number + 1) % len(sources(case))]
    for number, (name, case) in enumerate(CASES.items())
}
"""Where each option is given outside the code; the tests of Python files have the one before."""


@asynccontextmanager
async def hosting(
    folder: Path,
    outside: Iterable[str] = (),
    code: Mapping[str, str] = {},
    flags: Iterable[str] = (),
    environ: Mapping[str, str] = {},
) -> AsyncIterator[Rig]:
    """Run with the values of these options, set in the code or, with `outside`, by other sources."""
    async with recording() as recorder:
        port = free_port()
        names = {*outside, *code}
        words, variables = [*flags, f"--node={newest_node()}"], dict(environ)
        for name in outside:
            value = {"agent": "other.mjs", "wsURL": recorder.url, "port": str(port)}.get(
                name, CASES[name].value
            )
            given = give(name, value, SOURCE[name], folder)
            words += given.words
            variables |= given.environ
        usual = {"wsURL": recorder.url, **KEYS}
        words += [f"{BY_NAME[name].flag}={value}" for name, value in usual.items() if name not in names]
        write(folder, code, recorder.url, port, "other.mjs" if "agent" in names else "agent.mjs")
        async with agent_tui("--json", *words, cwd=folder, environ=variables) as run:
            yield Rig(run, recorder, port, folder / "agent.mjs")


def write(folder: Path, code: Mapping[str, str], url: str, port: int, name: str = "agent.mjs") -> None:
    """Write an agent's file that passes these options."""
    text = (AGENTS / "js_options.mjs").read_text()
    arguments = ", ".join(code.values()).replace("@URL", url).replace("@PORT", str(port))
    project(folder)
    (folder / name).write_text(text.replace("/* the options under test */", arguments))


async def check(rig: Rig, *names: str) -> None:
    for name in names:
        await CASES[name].check(rig)


WIRE = (
    "agentName",
    "wsURL",
    "apiKey",
    "apiSecret",
    "serverType",
    "permissions",
    "host",
    "port",
    "requestFunc",
)
LOAD = ("loadFunc", "loadThreshold")
ENDS = ("shutdownProcessTimeout", "sessionEndTimeout", "drainTimeout")
REST = ("numIdleProcesses", "jobMemoryWarnMB", "logLevel")


async def test_set_in_the_code(tmp_path: Path) -> None:
    assert {*CODE} == {*WIRE, *LOAD, *ENDS, *REST}
    async with hosting(tmp_path, code=CODE, flags=["--production"], environ=HANGING) as rig:
        await check(rig, *WIRE, *LOAD, *REST[:2])
        await ends_in_time(rig)


async def test_set_outside_the_code(tmp_path: Path) -> None:
    names = (*WIRE, "workerToken", "deployment", *ENDS, *REST)
    async with hosting(tmp_path, names, flags=["--production"], environ=HANGING) as rig:
        await check(rig, *WIRE, "workerToken", "deployment", *REST[:2])
        await ends_in_time(rig)


async def ends_in_time(rig: Rig) -> None:
    """Check the time-outs and the log level with a job that only these options end."""
    worker = await rig.recorder.registered()
    assert await rig.recorder.offer(worker, "AJ_2")
    await rig.run.until("job_started")
    await rig.run.until("log", text="an error line")
    assert not [each for each in rig.run.all("log") if each["text"] == "an info line"]
    began = time.monotonic()
    rig.terminate()
    assert (await rig.run.until("stopping"))["drain_s"] == 0.8
    ended = await rig.run.until("job_ended")
    assert "within 600 ms" in ended["reason"]
    assert 0.8 + 0.5 + 0.6 <= time.monotonic() - began < HANGS_S


async def test_a_hanging_prewarm_and_a_custom_load_function(tmp_path: Path) -> None:
    case = CASES["initializeProcessTimeout"]
    names = (case.option, "production", *LOAD)
    flags = ["--port=0", "--host=127.0.0.1", "--num-idle-processes=1"]
    async with hosting(tmp_path, names, flags=flags, environ=case.environ) as rig:
        await check(rig, *names)


async def test_the_memory_limit_and_another_file(tmp_path: Path) -> None:
    async with hosting(tmp_path, ("agent", "jobMemoryLimitMB")) as rig:
        await check(rig, "jobMemoryLimitMB")
        assert rig.run.all("starting")[0]["agent"] == str(tmp_path / "other.mjs")


async def test_without_a_server(tmp_path: Path) -> None:
    async with hosting(tmp_path, ("maxRetry", "wsURL"), flags=CASES["maxRetry"].flags) as rig:
        await check(rig, "maxRetry")


async def test_options_that_end_a_run_can_be_set_in_the_code(tmp_path: Path) -> None:
    write(tmp_path, ENDING, "", 0)
    code, run = await finished("options", "agent.mjs", "--json", f"--node={newest_node()}", cwd=tmp_path)
    assert code == 0, run.stderr
    found = {name: run.events[0][name] for name in ENDING}
    values = {"workerToken": "•••", "initializeProcessTimeout": 700.0, "jobMemoryLimitMB": 10, "maxRetry": 2}
    assert {name: each["value"] for name, each in found.items()} == values
    assert {(each["layer"], each["source"].split(":")[0]) for each in found.values()} == {
        ("agent's code", "agent.mjs")
    }
