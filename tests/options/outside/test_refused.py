"""Each option refuses bad values from each source, with the value, the source, and what to give instead."""

import asyncio
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest

from agent_tui.model.errors import UserError
from agent_tui.options.declare import BY_NAME
from tests.cli.support import ENVIRON
from tests.limits import PATIENCE_S
from tests.options.outside.conftest import Resolve
from tests.options.outside.rig import SourcedValue, give

BAD = {
    "agent": "nowhere.py",
    "agentName": "a\x1bb",
    "wsURL": "localhost",
    "apiKey": "a\x07b",
    "apiSecret": "a\x07b",
    "workerToken": "a\x07b",
    "deployment": "a_b",
    "serverType": "hotel",
    "permissions": "canFly=true",
    "requestFunc": "not a name",
    "loadFunc": "1st",
    "loadThreshold": "-0.1",
    "numIdleProcesses": "257",
    "initializeProcessTimeout": "0",
    "shutdownProcessTimeout": "soon",
    "sessionEndTimeout": "-1",
    "drainTimeout": "40000000000",
    "jobMemoryWarnMB": "much",
    "jobMemoryLimitMB": "-1",
    "onReload": "later",
    "pin": "perhaps",
    "logLevel": "loud",
    "maxRetry": "1.5",
    "production": "maybe",
    "host": " ",
    "port": "70000",
}
SOURCES = ("environment", ".env", "config", "flag")
EACH = [
    (name, source)
    for name in BAD
    for source in SOURCES
    if (name, source) not in (("production", "flag"), ("pin", "flag"))
]


def bad(name: str, source: str, folder: Path) -> tuple[SourcedValue, str]:
    """Put the option's bad value into that source. Return how the error names the source."""
    option, value = BY_NAME[name], BAD[name]
    if name != "agent":
        (folder / "agent.py").write_text("async def entry(ctx): ...\n")
    variable = option.environment[0]
    given = give(name, value, variable if source == "environment" else source, folder)
    words = given.words if name == "agent" else ("agent.py", *given.words)
    places = {
        "environment": f"{variable} in the environment",
        ".env": f"{option.environment[-1]} in .env:2",
        "config": "agent-tui.toml:2",
        "flag": option.flag,
    }
    return SourcedValue(words, given.environ), "" if words == (value,) else places[source]


def check(name: str, where: str, line: str) -> None:
    option, value = BY_NAME[name], BAD[name]
    assert "\n" not in line
    assert where in line
    if name == "agent":
        assert value in line
        return
    assert f"{name}: " in line
    assert option.kind.expects in line
    assert (value not in line) if option.kind.secret else (value.strip("\x1b")[:1] in line)


@pytest.mark.parametrize(("name", "source"), EACH)
def test_a_bad_value_is_refused(name: str, source: str, tmp_path: Path, resolve: Resolve) -> None:
    given, where = bad(name, source, tmp_path)
    with pytest.raises(UserError) as refusal:
        resolve(*given.words, environ=given.environ)
    assert refusal.value.exit_code == 2
    check(name, where, str(refusal.value))


@pytest.mark.real
@pytest.mark.parametrize(
    ("name", "source"),
    [("host", "environment"), ("port", ".env"), ("logLevel", "config"), ("apiKey", "flag")],
)
async def test_the_command_reports_it_in_one_line(name: str, source: str, tmp_path: Path) -> None:
    given, where = bad(name, source, tmp_path)
    code, out, err = await refusal(given.words, tmp_path, given.environ)
    assert (code, out) == (2, "")
    assert err.startswith("agent-tui: ")
    assert err.endswith("\n")
    check(name, where, err.removesuffix("\n"))


async def refusal(words: Sequence[str], cwd: Path, environ: Mapping[str, str]) -> tuple[int, str, str]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "agent_tui", "--local", "--headless", *words),
        cwd=cwd,
        env={**ENVIRON, **environ},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(PATIENCE_S):
        out, err = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()
