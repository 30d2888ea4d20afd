"""Each option refuses what it cannot take, from each source, and says what, from where, and what to give."""

import asyncio
import json
import sys
from pathlib import Path

import pytest

from agent_tui.options.declare import BY_NAME

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
    "logLevel": "loud",
    "maxRetry": "1.5",
    "production": "maybe",
    "host": " ",
    "port": "70000",
}
SOURCES = ("environment", ".env", "config", "flag")


@pytest.mark.real
@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("name", BAD)
async def test_a_bad_value_is_refused_in_one_line(name: str, source: str, tmp_path: Path) -> None:
    option, value = BY_NAME[name], BAD[name]
    if source == "flag" and name == "production":
        pytest.skip("its flag takes no value")
    words: list[str] = ["agent.py"]
    environ: dict[str, str] = {}
    variable = option.environment[0]
    if name == "agent":
        words = [value] if source == "flag" else []
    elif source == "flag":
        words.append(f"{option.flag}={value}")
    if source == "environment":
        environ[variable], where = value, f"{variable} in the environment"
    elif source == ".env":
        (tmp_path / ".env").write_text(f'\n{variable}="{value}"\n')
        where = f"{variable} in .env:2"
    elif source == "config":
        (tmp_path / "agent-tui.toml").write_text(f"# no\n{name} = {json.dumps(value)}\n")
        where = "agent-tui.toml:2"
    else:
        where = "" if name == "agent" else option.flag
    if name != "agent":
        (tmp_path / "agent.py").write_text("async def entry(ctx): ...\n")
    code, line = await refusal(words, tmp_path, environ)
    assert code == 2
    assert line.startswith("agent-tui: ")
    assert line.count("\n") == 1
    assert where in line
    if name == "agent":
        assert value in line
        return
    assert f"{name}: " in line
    assert option.kind.expects in line
    assert (value not in line) if option.kind.secret else (value.strip("\x1b")[:1] in line)


async def refusal(words: list[str], cwd: Path, environ: dict[str, str]) -> tuple[int | None, str]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "agent_tui", "--local", "--headless", *words),
        cwd=cwd,
        env={"HOME": "/nonexistent", "PATH": "/usr/bin:/bin", **environ},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(30):
        out, err = await process.communicate()
    assert out == b""
    return process.returncode, err.decode()
