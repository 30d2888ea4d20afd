"""Job types and permissions on a server: what dispatches jobs, and their tokens."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from livekit.protocol.room import CreateRoomRequest

from agent_tui.engine.servers import server_api
from agent_tui.local_server.server import LocalServer
from agent_tui.worker.urls import ServerAddress
from tests.cli.support import Run, agent_tui

pytestmark = pytest.mark.real

AGENT = """
import base64, json

async def entry(ctx):
    claims = ctx.token.split(".")[1]
    print("claims", json.dumps(json.loads(base64.urlsafe_b64decode(claims + "=="))["video"]))
    print("of", ctx.job.participant.identity if ctx.job.participant else "nobody")
"""


@asynccontextmanager
async def on_a_server(folder: Path, *flags: str) -> AsyncIterator[tuple[Run, Any]]:
    """Run agent-tui on an embedded server, with an open room."""
    (folder / "agent.py").write_text(AGENT)
    async with LocalServer(port=0) as server:
        address = ServerAddress(server.url, server.api_key, server.api_secret)
        keys = (f"--url={server.url}", f"--api-key={address.api_key}", f"--api-secret={address.api_secret}")
        async with agent_tui("--json", *keys, *flags, cwd=folder) as run:
            await run.until("registered")
            async with server_api(address, "lobby", 5) as client:
                await client.room.create_room(CreateRoomRequest(name="lobby"))
            yield run, server.rooms["lobby"]


async def printed(run: Run, word: str, count: int = 1) -> str:
    """Wait for the `count`-th line that starts with the word. Return the rest of the line."""
    while len(found := [e["text"] for e in run.all("log") if e["text"].startswith(f"{word} ")]) < count:
        await run.more()
    return str(found[count - 1].removeprefix(f"{word} "))


async def test_a_room_gives_one_job(tmp_path: Path) -> None:
    async with on_a_server(tmp_path) as (run, room):
        assert await printed(run, "of") == "nobody"
        room.join("alice")
        room.publish("alice")
        await run.until("job_ended")
        assert len(run.all("offer")) == 1


async def test_each_participant_gives_a_job(tmp_path: Path) -> None:
    async with on_a_server(tmp_path, "--server-type=participant") as (run, room):
        room.join("alice")
        assert await printed(run, "of") == "alice"
        room.join("bob")
        assert await printed(run, "of", 2) == "bob"


async def test_each_publisher_gives_a_job(tmp_path: Path) -> None:
    async with on_a_server(tmp_path, "--server-type=publisher") as (run, room):
        room.join("alice")
        room.join("bob")
        room.publish("bob")
        assert await printed(run, "of") == "bob"
        await run.until("job_ended")
        assert len(run.all("offer")) == 1


async def test_permissions_are_in_the_jobs_token(tmp_path: Path) -> None:
    wanted = "hidden=true,canPublish=false,canPublishData=false,canUpdateMetadata=false"
    async with on_a_server(tmp_path, f"--permissions={wanted},canPublishSources=camera") as (run, _):
        video = json.loads(await printed(run, "claims"))
        assert (video["hidden"], video["canPublish"], video["canPublishData"]) == (True, False, False)
        assert video["canUpdateOwnMetadata"] is False
        assert video["canSubscribe"] is True
        assert video["agent"] is True
