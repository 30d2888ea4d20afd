"""Spoken turns in a real room: the steps of a turn's waterfall and the silence that a participant records."""

import asyncio
import json
import statistics
import warnings
from pathlib import Path
from typing import Any

import pytest
from livekit import api

from agent_tui.model import session_events as se
from agent_tui.model.conversations import MessageView, ToolView, TurnView
from agent_tui.tui.widgets.talk_steps import GAPS, OVERLAP, REST, Step, Waterfall, waterfall
from tests.cli.support import AGENTS, Event, Run, agent_tui
from tests.conformance.client import Server
from tests.conformance.conftest import HAS_REAL, real_server
from tests.limits import PATIENCE_S
from tests.nodes import CACHE, needs_node, newest_node, project
from tests.sdks import each_sdk, sdk_pythons

pytestmark = [
    pytest.mark.real,
    pytest.mark.timeout(300),
    pytest.mark.skipif(not HAS_REAL, reason="no livekit-server on the PATH, and no LIVEKIT_SERVER_URL"),
]

__all__ = ["real_server"]

TURNS = 10
NOISE_MS = 20
"""How exact sums of times are that two processes measured, on a busy machine."""

WITH_TOOL = 5
"""The turn in which the agent (tests/agents/sdk_speaks.py) calls a tool."""

KNOWN = {"turn hook": 30, "LLM": 150, "TTS": 100}
"""How many ms these steps take at least, by the agent's script."""

TIMER_MS = 2
"""How many ms early Node's timers may end a step."""

NETWORK_MS = 1500
"""The most ms that playout and network take in half of the turns. They depend on the load of the machine."""


Talked = tuple[Run, list[dict[str, Any]], Event]
"""The run, what the participant recorded of each turn, and the end of the typed turn."""


def token(server: Server, room: str) -> str:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the development secret is short
        grants = api.VideoGrants(room_join=True, room=room)
        return (
            api.AccessToken(server.api_key, server.api_secret)
            .with_identity("tones")
            .with_grants(grants)
            .to_jwt()
        )


def seen(run: Run, number: int) -> TurnView:
    """Return a turn as front ends see it."""
    events = [each for each in run.events if each.get("turn") == number]
    (started,) = (each for each in events if each["event"] == "turn_started")
    (ended,) = (each for each in events if each["event"] == "turn_ended")
    entries: list[MessageView | ToolView] = []
    for each in events:
        match each["event"]:
            case "message":
                role, stopped = se.Role(each["role"]), each["stopped_speaking_at"]
                entries.append(
                    MessageView(
                        each["ts"], role, each["text"], False, 1, each["metrics"], stopped_speaking_at=stopped
                    )
                )
            case "tool_call":
                began = each["ts"] - (each["duration_ms"] or 0.0) / 1000
                entries.append(
                    ToolView(began, "1", each["name"], "{}", each["output"], False, each["duration_ms"])
                )
            case _:
                pass
    end = se.TurnEnded("", 1, number, False, ended["duration_ms"], None, ended["metrics"])
    return TurnView(number, False, started["ts"], 1, entries=tuple(entries), ended=end)


def parts_of(fall: Waterfall) -> list[Step]:
    """Return the steps without what is left of the whole."""
    return [each for each in fall.steps if each.name not in (REST, GAPS, OVERLAP)]


async def conversed(agent: Path, *flags: object, server: Server, cwd: Path | None = None) -> Talked:
    """Let a participant speak ten turns to an agent in a real room, then type one."""
    environ = {
        "LIVEKIT_URL": server.url,
        "LIVEKIT_API_KEY": server.api_key,
        "LIVEKIT_API_SECRET": server.api_secret,
    }
    options = ("--json", "--port", 0, "--say", "-", "--exit-when-idle", *flags)
    async with agent_tui(agent, *options, cwd=cwd, environ=environ | CACHE) as run:
        room = (await run.until("job_started"))["room"]
        await run.until("session_started", text_only=False)
        participant = await asyncio.create_subprocess_exec(
            sdk_pythons()[-1],
            AGENTS / "participant.py",
            server.url,
            token(server, room),
            str(TURNS),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        assert participant.stdin is not None
        assert participant.stdout is not None
        try:
            heard: list[dict[str, Any]] = []
            async with asyncio.timeout(PATIENCE_S + 10 * TURNS):
                while len(heard) < TURNS:
                    heard.append(json.loads(await participant.stdout.readline()))
            assert run.process.stdin is not None
            run.process.stdin.write(b"a typed turn\n")
            typed = await run.until("turn_ended", typed=True)
            participant.stdin.close()
        finally:
            if participant.returncode is None:
                participant.kill()
            await participant.wait()
        run.process.stdin.close()
        assert await run.end() == 0, run.stderr
        return run, heard, typed


@each_sdk()
async def test_ten_spoken_turns_and_a_typed_one(sdk_python: Path, real_server: Server) -> None:
    agent = AGENTS / "sdk_speaks.py"
    run, heard, typed = await conversed(agent, "--python", sdk_python, server=real_server)
    check(run, heard, typed)


@needs_node
async def test_agents_js_has_the_same_turns(tmp_path: Path, real_server: Server) -> None:
    agent = project(tmp_path) / "agent.mjs"
    agent.write_text((AGENTS / "js_speaks.mjs").read_text())
    run, heard, typed = await conversed(agent, "--node", newest_node(), server=real_server, cwd=tmp_path)
    check(run, heard, typed)


def check(run: Run, heard: list[dict[str, Any]], typed: Event) -> None:
    """Check that each turn has its parts, and that with the rest they are the recorded silence."""
    assert (typed["turn"], typed["error"]) == (TURNS + 1, None)
    turns = [seen(run, number) for number in range(1, TURNS + 1)]
    said = [each["text"] for each in run.all("message") if each["role"] == "user"]
    assert said[:TURNS] == [f"turn {n}" + " weather" * (n == WITH_TOOL) for n in range(1, TURNS + 1)]
    rests = []
    for turn, recorded in zip(turns, heard, strict=True):
        fall = waterfall(turn)
        parts = parts_of(fall)
        assert fall.answered is not None
        assert all(each.ms is not None for each in parts), parts  # no gap
        assert all((each.ms or 0.0) >= KNOWN.get(each.name, 0) - TIMER_MS for each in parts), parts
        assert {each.name for each in parts} >= {"end of turn", *KNOWN}
        total = sum(each.ms or 0.0 for each in fall.steps)
        assert total == pytest.approx(fall.answered, abs=2)  # with what is left of it
        assert all((each.ms or 0.0) > -NOISE_MS for each in fall.steps if each.name == OVERLAP), fall
        rest = recorded["silence_ms"] - sum(each.ms or 0.0 for each in parts)
        rests.append(rest)
        shown = " · ".join(f"{each.name} {each.ms:.0f}" for each in parts)
        print(f"{turn.number}: silence {recorded['silence_ms']:.0f} = {shown} · {REST} {rest:.0f} ms")  # noqa: T201  -rP shows it
    # What the steps leave of the recorded silence is playout and network: never less than nothing.
    assert min(rests) > -NOISE_MS, rests
    assert statistics.median(rests) < NETWORK_MS, rests
    tool = parts_of(waterfall(turns[WITH_TOOL - 1]))
    assert sum("weather" in each.name for each in tool) == 1, tool
