"""Each option refuses what it cannot take, from each source, and says what, from where, and what to give."""

import asyncio
import json
import sys
from pathlib import Path

import jsonschema
import pytest

from agent_tui.options.declare import BY_NAME, OPTIONS
from agent_tui.options.document import schema, schema_text
from tests.cli.support import ROOT
from tests.options.outside.document import document

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


def test_every_option_has_a_bad_value() -> None:
    assert set(BAD) == set(BY_NAME)


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


# -- what is made of the declarations ------------------------------------------------------------------


def test_the_page_is_not_stale() -> None:
    assert (ROOT / "docs/options.md").read_text(encoding="utf-8") == document(), (
        "stale: python -m tests.options.outside.document > docs/options.md"
    )


def test_the_schema_is_not_stale() -> None:
    assert (ROOT / "docs/agent-tui.schema.json").read_text(encoding="utf-8") == schema_text(), (
        "stale: agent-tui options --schema > docs/agent-tui.schema.json"
    )


def test_the_schema_takes_what_the_options_take() -> None:
    validator = jsonschema.Draft202012Validator(schema())
    validator.check_schema(schema())
    good = {"numIdleProcesses": 2, "drainTimeout": "10s", "permissions": {"hidden": True}, "production": True}
    validator.validate({**good, "apiSecret": "${LIVEKIT_API_SECRET}", "logLevel": "info", "port": "${PORT}"})
    for name, value in {"logLevel": "loud", "port": 70_000, "permissions": {"x": True}, "other": 1}.items():
        assert not validator.is_valid({name: value}), name


@pytest.mark.parametrize("option", OPTIONS, ids=lambda option: option.name)
def test_defaults_are_values(option: object) -> None:
    chosen = next(each for each in OPTIONS if each is option)
    assert chosen.kind.expects
    assert chosen.help.endswith(".")
