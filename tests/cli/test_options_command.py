"""`agent-tui options` and `agent-tui doctor`, as users run them."""

import asyncio
import json
import os
import socket
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from agent_tui.options.declare import OPTIONS
from agent_tui.options.export import FORMATS
from tests.cli.support import ENVIRON
from tests.cli.test_servers import at, free_port, server
from tests.limits import PATIENCE_S
from tests.sdks import REASON, ROOT, sdk_in_turn, sdk_pythons

pytestmark = pytest.mark.real

AGENT = "async def entry(ctx): ...\n"
NODE = ROOT / ".venvs/js"
SECRET = "a-secret-that-is-long-enough-for-it"


async def command(
    *words: object, cwd: Path, environ: Mapping[str, str] | None = None, program: tuple[str, ...] = ()
) -> tuple[int | None, str, str]:
    """Run the command. Return exit code, stdout, and stderr."""
    process = await asyncio.create_subprocess_exec(
        *(program or (sys.executable, "-m", "agent_tui")),
        *map(str, words),
        cwd=cwd,
        env={**ENVIRON, **(environ or {})},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(PATIENCE_S):
        out, err = await process.communicate()
    return process.returncode, out.decode(), err.decode()


def findings(out: str) -> dict[str, dict[str, Any]]:
    return {each["check"]: each for each in map(json.loads, out.splitlines())}


async def test_the_table_has_every_option_with_value_and_source(tmp_path: Path) -> None:
    (tmp_path / "agent.py").write_text(AGENT)
    (tmp_path / "agent-tui.toml").write_text('port = 8085\napiSecret = "hush-hush"\n')
    environ = {"LIVEKIT_AGENT_NAME": "bob"}
    code, out, err = await command("options", "--log-level=warn", cwd=tmp_path, environ=environ)
    assert (code, err) == (0, "")
    rows = {line.split()[0]: line for line in out.splitlines()}
    assert {option.name for option in OPTIONS} | {"agentNameIsEnv"} < set(rows)
    assert rows["port"].split()[1:3] == ["8085", "agent-tui.toml:1"]
    assert rows["logLevel"].split()[1:3] == ["warn", "--log-level"]
    assert "LIVEKIT_AGENT_NAME in the environment" in rows["agentName"]
    assert rows["agentNameIsEnv"].split()[1] == "true"
    assert "hush" not in out


@sdk_in_turn()
async def test_options_that_the_code_sets_have_its_line_as_source(sdk_python: Path, tmp_path: Path) -> None:
    (tmp_path / "agent.py").write_text(
        "from livekit.agents import AgentServer\n"
        "server = AgentServer(num_idle_processes=3)\n"
        "@server.rtc_session(agent_name='coded')\n"
        "async def entry(ctx): ...\n"
    )
    code, out, err = await command("options", "--json", f"--python={sdk_python}", cwd=tmp_path)
    assert (code, err) == (0, "")
    told = json.loads(out)
    assert told["numIdleProcesses"]["value"] == 3
    assert told["numIdleProcesses"]["source"] == "agent.py:2"
    assert (told["agentName"]["value"], told["agentName"]["layer"]) == ("coded", "agent's code")


async def test_a_file_that_does_not_load_still_has_options(tmp_path: Path) -> None:
    (tmp_path / "agent.py").write_text("import nowhere\n")
    code, out, err = await command("options", cwd=tmp_path)
    assert code == 1
    assert "agent.py:1 does not load" in err
    assert "numIdleProcesses" in out


# -- exports, run by what they are for --------------------------------------------------------------

TUNED = (
    "--num-idle-processes=3",
    "--load-threshold=0.5",
    "--session-end-timeout=90s",
    "--permissions=hidden=true,canPublishSources=microphone",
    "--agent-name=tuned",
    "--server-type=publisher",
    "--job-memory-limit-mb=512",
    "--log-level=warn",
    "--api-key=a-key",
    f"--api-secret={SECRET}",
    "--url=wss://cloud.example",
)
SECRETS = {"LIVEKIT_API_KEY": "a-key", "LIVEKIT_API_SECRET": SECRET}


@pytest.mark.skipif(not sdk_pythons(), reason=REASON)
async def test_an_export_runs_with_each_sdk(tmp_path: Path) -> None:
    (tmp_path / "agent.py").write_text(AGENT)
    shown = {
        "python": "server._num_idle_processes, server._agent_name",
        "worker-options": "options.num_idle_processes, options.agent_name",
    }
    text = ""
    for form, values in shown.items():
        code, out, err = await command("options", f"--export={form}", *TUNED, cwd=tmp_path)
        assert (code, err) == (0, "")
        assert SECRET not in out
        text += f"{out}\nprint({values})\n"
    (tmp_path / "exported.py").write_text(text)
    for python in sdk_pythons():
        program = (str(python),)
        code, out, err = await command("exported.py", cwd=tmp_path, environ=SECRETS, program=program)
        assert (code, out) == (0, "3 tuned\n3 tuned\n"), err


@pytest.mark.skipif(not (NODE / "node_modules").exists(), reason="no @livekit/agents: make .venvs/js/.done")
async def test_the_typescript_export_runs_with_the_sdk(tmp_path: Path) -> None:
    (tmp_path / "agent.py").write_text(AGENT)
    (tmp_path / "node_modules").symlink_to(NODE / "node_modules")
    (tmp_path / "package.json").write_text('{"type": "module"}')
    _, out, _ = await command("options", "--export=typescript", *TUNED, cwd=tmp_path)
    assert SECRET not in out
    (tmp_path / "options.js").write_text(out)
    (tmp_path / "shown.js").write_text(
        "import o from './options.js'; import { initializeLogger } from '@livekit/agents';\n"
        "console.log(o.numIdleProcesses, o.loadThreshold, o.agentName, o.serverType, o.permissions.hidden, "
        "o.jobMemoryLimitMB, o.wsURL, o.apiKey);\n"
    )
    environ = {**SECRETS, "PATH": os.environ["PATH"]}
    code, out, err = await command("shown.js", cwd=tmp_path, environ=environ, program=("node",))
    assert (code, out) == (0, "3 0.5 tuned 1 true 512 wss://cloud.example a-key\n"), err


async def test_an_export_as_flags_gives_the_same_options(tmp_path: Path) -> None:
    (tmp_path / "agent.py").write_text(AGENT)
    _, flags, _ = await command("options", "--export=flags", *TUNED, cwd=tmp_path)
    assert SECRET not in flags
    _, once, _ = await command("options", "--json", *TUNED, cwd=tmp_path, environ=SECRETS)
    _, again, _ = await command("options", "--json", *flags.split(), cwd=tmp_path, environ=SECRETS)
    first, second = json.loads(once), json.loads(again)
    assert {name: each["value"] for name, each in first.items()} == {
        name: each["value"] for name, each in second.items()
    }


RUN = ("python", "worker-options", "typescript", "flags")
"""The exports that the tests above run."""


async def test_every_other_export_is_a_choice(tmp_path: Path) -> None:
    (tmp_path / "agent.py").write_text(AGENT)
    assert {*RUN} < {*FORMATS}
    for form in {*FORMATS} - {*RUN}:
        code, out, _ = await command("options", f"--export={form}", *TUNED, cwd=tmp_path)
        assert code == 0
        assert "tuned" in out
        assert SECRET not in out


# -- doctor -----------------------------------------------------------------------------------------------


async def test_doctor_passes_for_the_example(tmp_path: Path) -> None:
    (tmp_path / "agent.py").write_text(AGENT)
    port = free_port()
    async with server(port):
        code, out, err = await command("doctor", "--json", cwd=tmp_path, environ=at(port))
        assert (code, err) == (0, "")
        found = findings(out)
        assert {each["level"] for each in found.values()} == {"good"}
        assert "accepts the credentials; LiveKit 1." in found["server"]["text"]
        assert set(found) == {
            *("interpreter", "agent", "options", "server", "clock", "port", "dispatch", "saves"),
        }
        code, out, _ = await command("doctor", "--json", cwd=tmp_path, environ=at(port, secret="wrong" * 8))
        assert (code, findings(out)["server"]["level"]) == (1, "bad")


async def test_doctor_finds_problems(tmp_path: Path) -> None:
    (tmp_path / "agent.py").write_text("import nowhere\n")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        flags = ("--url=wss://cloud.example", f"--port={port}")
        code, out, _ = await command("doctor", "--json", *flags, cwd=tmp_path)
    found = findings(out)
    assert code == 1
    assert {name for name, each in found.items() if each["level"] == "bad"} == {
        "agent",
        "credentials",
        "port",
    }
    assert all(each["advice"] for each in found.values() if each["level"] != "good")
    assert "no API key for wss://cloud.example" in found["credentials"]["text"]


async def test_doctor_without_an_agent_file(tmp_path: Path) -> None:
    code, out, _ = await command("doctor", cwd=tmp_path)
    assert code == 1
    assert "✗ start" in out
    assert "no agent file in this folder" in out
