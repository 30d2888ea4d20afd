"""`--debug`: a job waits for debugpy, and continues once a client has connected."""

import asyncio
import itertools
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.cli.support import AGENTS, agent_tui
from tests.cli.test_servers import free_port

pytestmark = [pytest.mark.real, pytest.mark.timeout(120)]

WAITING = "waiting for a debugger"


class Client:
    """The part of an editor that attaches over the debug adapter protocol."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._numbers = itertools.count(1)

    async def attach(self) -> None:
        self._ask("initialize", adapterID="test", clientID="test", pathFormat="path", linesStartAt1=True)
        self._ask("attach", justMyCode=False)
        await self._until("initialized")
        self._ask("configurationDone")

    def close(self) -> None:
        self._writer.close()

    def _ask(self, command: str, **arguments: Any) -> None:
        request = {"seq": next(self._numbers), "type": "request", "command": command, "arguments": arguments}
        body = json.dumps(request).encode()
        self._writer.write(b"Content-Length: %d\r\n\r\n%s" % (len(body), body))

    async def _until(self, event: str) -> None:
        while True:
            length = 0
            while (line := await self._reader.readline()).strip():
                name, _, value = line.decode().partition(":")
                length = int(value) if name.lower() == "content-length" else length
            if json.loads(await self._reader.readexactly(length)).get("event") == event:
                return


async def test_a_job_waits_for_a_debugger_and_then_starts() -> None:
    port = free_port()
    flags = ("--local", "--json", "--python", sys.executable, "--debug", str(port), "--dispatch", "1")
    async with agent_tui(AGENTS / "native_short.py", *flags, "--exit-when-idle") as run:
        while not any(WAITING in line["text"] and str(port) in line["text"] for line in run.all("log")):
            await run.more()
        assert run.all("job_started") == []
        client = Client(*await asyncio.open_connection("127.0.0.1", port))
        await client.attach()
        await run.until("job_started")
        client.close()
        assert await run.end() == 0
        assert [job["status"] for job in run.all("job_ended")] == ["success"]


async def test_a_job_that_waits_for_a_debugger_can_be_ended() -> None:
    flags = ("--local", "--json", "--python", sys.executable, "--debug", str(free_port()), "--dispatch", "1")
    async with agent_tui(AGENTS / "native_short.py", *flags) as run:
        while not any(WAITING in line["text"] for line in run.all("log")):
            await run.more()
        run.process.terminate()
        assert await run.end() == 143


async def test_without_debugpy_the_job_continues_with_a_warning(tmp_path: Path) -> None:
    (tmp_path / "debugpy.py").write_text("raise ImportError('none here')\n")
    (tmp_path / "agent.py").write_text("async def entry(ctx):\n    ctx.shutdown('done')\n")
    flags = ("--local", "--json", "--python", sys.executable, "--debug", "--dispatch", "1")
    async with agent_tui("agent.py", *flags, "--exit-when-idle", cwd=tmp_path) as run:
        assert await run.end() == 0
        assert any("debugpy is not installed" in line["text"] for line in run.all("log"))
