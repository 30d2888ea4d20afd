"""Every option has its effect, for Python and agents-js files, set in their code or outside.

Options whose effects can be seen side by side share a run, since each process that imports an SDK costs two
seconds of CPU. The effect does not depend on the source: outside the code, sources take turns.
"""

import os
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from agent_tui.options.declare import BY_NAME
from tests.cli.support import AGENTS, agent_tui, finished
from tests.nodes import CACHE, needs_node, newest_node, project
from tests.options.outside import cases
from tests.options.outside.recorder import recording
from tests.options.outside.rig import KEYS, NATIVE, Rig, free_port, give, python_text, rigged
from tests.options.outside.test_outside import sources
from tests.sdks import REASON, sdk_pythons

pytestmark = [pytest.mark.real, pytest.mark.timeout(120)]

CASES = {case.option: case for case in cases.CASES}

JS_CODE = {
    "agentName": "agentName: 'tested'",
    "wsURL": "wsURL: '{url}'",
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
    "port": "port: {port}",
    "workerToken": "workerToken: 'tested-token'",
    "initializeProcessTimeout": "initializeProcessTimeout: 700",
    "jobMemoryLimitMB": "jobMemoryLimitMB: 9",
    "maxRetry": "maxRetry: 0",
}
"""What a file passes to `new ServerOptions`; `agent`, `production` and `deployment` are not set there."""

ENDING = ("workerToken", "initializeProcessTimeout", "jobMemoryLimitMB", "maxRetry")
"""Options under which others have no effect."""

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
ENDS = ("shutdownProcessTimeout", "drainTimeout")
REST = ("numIdleProcesses", "jobMemoryWarnMB", "logLevel")

HANGING = {"SLOW_END": "1", "SLOW_SESSION_END": "1"}
HANGS_S = 60


@dataclass(frozen=True)
class Language:
    """A language of agent files."""

    suffix: str
    code: Mapping[str, str]
    """The arguments that set options, with `{url}` and `{port}`."""
    text: Callable[[Iterable[str]], str]
    """Returns a file that passes these options."""
    flags: Callable[[], list[str]]
    turn: int
    """Where the sources start to take turns."""
    has_session_end: bool = True
    environ: Mapping[str, str] = field(default_factory=dict)

    def source(self, name: str) -> str:
        """Return the source of an option outside the code."""
        those = sources(CASES[name])
        return those[([*CASES].index(name) + self.turn) % len(those)]


def js_text(names: Iterable[str]) -> str:
    arguments = ", ".join(JS_CODE[name] for name in names)
    return (AGENTS / "js_options.mjs").read_text().replace("/* the options under test */", arguments)


def sdk_text(names: Iterable[str]) -> str:
    return python_text(*(CASES[name] for name in names))


JS = Language(".mjs", JS_CODE, js_text, lambda: [f"--node={newest_node()}"], turn=1, environ=CACHE)
SDK = Language(
    ".py",
    {case.option: case.code for case in cases.CASES if case.code},
    sdk_text,
    lambda: [f"--python={sdk_pythons()[-1]}"],
    turn=0,
)
PYTHON = Language(".py", {}, lambda _: NATIVE, list, turn=0, has_session_end=False)

IN_THE_CODE = [
    pytest.param(SDK, id="sdk", marks=pytest.mark.skipif(not sdk_pythons(), reason=REASON)),
    pytest.param(JS, id="js", marks=needs_node),
]
OUTSIDE = [pytest.param(PYTHON, id="native"), IN_THE_CODE[1]]


@asynccontextmanager
async def hosting(
    language: Language,
    folder: Path,
    outside: Iterable[str] = (),
    code: Iterable[str] = (),
    flags: Iterable[str] = (),
    environ: Mapping[str, str] = {},
) -> AsyncIterator[Rig]:
    """Run with the values of these options, set in the code or, with `outside`, by other sources."""
    async with recording() as recorder:
        port = free_port()
        names = {*outside, *code}
        words = ["--no-watch", *flags, *language.flags()]  # nothing is saved: no stock of blanks
        variables = {**language.environ, **environ}
        for name in outside:
            value = {"agent": f"other{language.suffix}", "wsURL": recorder.url, "port": str(port)}.get(
                name, CASES[name].value
            )
            given = give(name, value, language.source(name), folder)
            words += given.words
            variables |= given.environ
        usual = {"wsURL": recorder.url, **KEYS}
        words += [f"{BY_NAME[name].flag}={value}" for name, value in usual.items() if name not in names]
        stem = "other" if "agent" in names else "agent"
        file = write(language, folder, code, recorder.url, port, stem)
        async with agent_tui("--json", *words, cwd=folder, environ=variables) as run:
            yield Rig(run, recorder, port, file)


def write(
    language: Language, folder: Path, names: Iterable[str], url: str = "", port: int = 0, stem: str = "agent"
) -> Path:
    """Write an agent's file that passes these options, and return it."""
    if language is JS:
        project(folder)
    text = language.text(names).replace("{url}", url).replace("{port}", str(port))
    file = folder / f"{stem}{language.suffix}"
    file.write_text(text)
    return file


async def check(rig: Rig, *names: str) -> None:
    for name in names:
        try:
            await CASES[name].check(rig)
        except Exception as error:
            error.add_note(f"option {name}")
            raise


@pytest.mark.parametrize("language", IN_THE_CODE)
async def test_set_in_the_code(language: Language, tmp_path: Path) -> None:
    names = (*WIRE, *LOAD, *ENDS, "sessionEndTimeout", *REST)
    assert {*names, *ENDING} >= {*language.code} >= {*names}
    flags = ["--production"]
    async with hosting(language, tmp_path, code=names, flags=flags, environ=HANGING) as rig:
        await check(rig, *WIRE, *LOAD, *REST[:2])
        await ends_in_time(rig, at_least_s=0.8 + 0.5 + 0.6)


@pytest.mark.parametrize("language", OUTSIDE)
async def test_set_outside_the_code(language: Language, tmp_path: Path) -> None:
    session_end = ("sessionEndTimeout",) if language.has_session_end else ()
    names = (*WIRE, *LOAD, *ENDS, *session_end, *REST, "pin")
    async with hosting(language, tmp_path, names, flags=["--production"], environ=HANGING) as rig:
        await check(rig, *WIRE, *LOAD, *REST[:2])
        await ends_in_time(rig, at_least_s=0.8 + (0.5 if session_end else 0) + 0.6)
        assert [each["pinned"] for each in rig.run.all("job_pinned")] == [True]


async def ends_in_time(rig: Rig, at_least_s: float) -> None:
    """Check the time-outs and the log level with a job that only these options end."""
    worker = await rig.recorder.registered()
    # The offer that `requestFunc` rejected was rejected by it, and not because of the load.
    assert await rig.recorder.offer(worker, "AJ_2")
    await rig.run.until("job_started")
    await rig.run.until("log", text="an error line")
    assert not [each for each in rig.run.all("log") if each["text"] == "an info line"]
    began = time.monotonic()
    rig.terminate()
    assert (await rig.run.until("stopping"))["drain_s"] == 0.8
    ended = await rig.run.until("job_ended")
    assert "within 600 ms" in ended["reason"]
    assert at_least_s <= time.monotonic() - began < HANGS_S


@pytest.mark.parametrize("language", OUTSIDE)
async def test_a_hanging_prewarm_in_production(language: Language, tmp_path: Path) -> None:
    case = CASES["initializeProcessTimeout"]
    names = (case.option, "production", "deployment")
    flags = ["--port=0", "--host=127.0.0.1", "--num-idle-processes=1"]
    async with hosting(language, tmp_path, names, flags=flags, environ=case.environ) as rig:
        await check(rig, *names)


@pytest.mark.parametrize("language", OUTSIDE)
async def test_the_memory_limit_the_token_and_another_file(language: Language, tmp_path: Path) -> None:
    async with hosting(language, tmp_path, ("agent", "jobMemoryLimitMB", "workerToken")) as rig:
        await check(rig, "jobMemoryLimitMB", "workerToken")
        assert rig.run.all("starting")[0]["agent"] == str(tmp_path / f"other{language.suffix}")


# The agent's file has no part in it: other languages only with AGENT_TUI_ALL_PAIRS=1.
@pytest.mark.parametrize("language", OUTSIDE if os.environ.get("AGENT_TUI_ALL_PAIRS") else OUTSIDE[:1])
async def test_without_a_server(language: Language, tmp_path: Path) -> None:
    async with hosting(language, tmp_path, ("maxRetry", "wsURL"), flags=CASES["maxRetry"].flags) as rig:
        await check(rig, "maxRetry")


APART = ("sessionEndTimeout", "onReload")
"""Options that have no effect on a native file, or end the job that others need."""


@pytest.mark.parametrize("name", APART)
async def test_apart(name: str, tmp_path: Path) -> None:
    case, pythons = CASES[name], sdk_pythons()
    if case.sdk and not pythons:
        pytest.skip(REASON)
    async with rigged(case, PYTHON.source(name), tmp_path, pythons[-1] if pythons else None) as rig:
        await case.check(rig)


@pytest.mark.parametrize("language", IN_THE_CODE)
async def test_options_that_end_a_run_can_be_set_in_the_code(language: Language, tmp_path: Path) -> None:
    names = [name for name in ENDING if name in language.code]
    write(language, tmp_path, names)
    file = f"agent{language.suffix}"
    flags = language.flags()
    code, run = await finished("options", file, "--json", *flags, cwd=tmp_path, environ=language.environ)
    assert code == 0, run.stderr
    found = {name: run.events[0][name] for name in names}
    values = {"workerToken": "•••", "initializeProcessTimeout": 700.0, "jobMemoryLimitMB": 9, "maxRetry": 0}
    assert {name: each["value"] for name, each in found.items()} == {name: values[name] for name in names}
    assert {(each["layer"], each["source"].split(":")[0]) for each in found.values()} == {
        ("agent's code", file)
    }


def test_every_option_has_its_effect_outside_the_code() -> None:
    names = {*WIRE, *LOAD, *ENDS, *REST, *ENDING, *APART, "agent", "production", "deployment", "pin"}
    assert names == {*CASES}
