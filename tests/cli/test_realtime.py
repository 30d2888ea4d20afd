"""Sessions with a realtime model: typed turns and a swap, with a model that no provider runs."""

from pathlib import Path

import pytest

from tests.cli.support import AGENTS, agent_tui
from tests.cli.test_swap import Talk
from tests.nodes import CACHE, needs_node, newest_node, project
from tests.sdks import each_sdk

pytestmark = [pytest.mark.real, pytest.mark.timeout(180)]


async def asked(talk: Talk, text: str, reply: str) -> None:
    """Say something that calls a tool. agents-js ends the turn before the reply."""
    talk.start(text)
    await talk.run.until("turn_ended", turn=talk.turn)
    await talk.run.until("message", text=reply)


async def conversation(file: Path, *flags: object, environ: dict[str, str] | None = None) -> None:
    """Say two turns, one with a tool call, on each of two versions of the code."""
    arguments = ("--local", "--json", "--port", 0, "--exit-when-idle", "--say", "-", "--on-reload", "swap")
    async with agent_tui(file, *arguments, *flags, cwd=file.parent, environ=environ) as run:
        started = await run.until("session_started")
        assert (started["realtime"], started["text_only"]) == (True, True)
        talk = Talk(run, file.parent, file.name)
        assert await talk.say("hello") == "one heard hello"
        await asked(talk, "weather", "It is sunny one.")
        quote = "'" if file.suffix == ".mjs" else '"'
        swapped = await talk.swap((f"{quote}one{quote}", f"{quote}two{quote}"), ("sunny one", "sunny two"))
        assert (swapped["reached"], swapped["notes"]) == ("all", [])
        assert await talk.say("hello") == "two heard hello"
        await asked(talk, "weather", "It is sunny two.")
        assert talk.generations() == {1: 1, 2: 1, 3: 2, 4: 2}
        assert run.process.stdin is not None
        run.process.stdin.close()
        assert await run.end() == 0, run.stderr
    assert [each["output"] for each in run.all("tool_call")] == ["sunny one", "sunny two"]
    assert all(each["metrics"] == {} for each in run.all("turn_ended"))


@each_sdk()
async def test_python(sdk_python: Path, tmp_path: Path) -> None:
    """The older SDK gets a model that speaks, whose transcript is shown, and the newest one that writes."""
    file = tmp_path / "agent.py"
    file.write_text((AGENTS / "sdk_realtime.py").read_text())
    speaks = {"REALTIME_AUDIO": "1"} if "old" in str(sdk_python) else {}
    await conversation(file, "--python", sdk_python, environ=speaks)


@needs_node
async def test_agents_js(tmp_path: Path) -> None:
    file = project(tmp_path / "project") / "agent.mjs"
    file.write_text((AGENTS / "js_realtime.mjs").read_text())
    flags = ("--num-idle-processes", 0, "--node", newest_node())
    await conversation(file, *flags, environ=CACHE)
