"""Agent files of the real SDKs, run with a clean environment."""

import asyncio
import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

import psutil

PYTHON_SERVER: Final = """\
import json, os
from livekit.agents import AgentServer, JobContext, cli

server = AgentServer(num_idle_processes=1, port=0, initialize_process_timeout=60)

def tell(**event):
    with open(os.environ["TRAIL"], "a") as trail:
        trail.write(json.dumps(event) + "\\n")

@server.rtc_session(agent_name=os.environ["AGENT_NAME"])
async def entry(ctx: JobContext):
    async def ended(reason=""):
        tell(event="ended", job=ctx.job.id)
    ctx.add_shutdown_callback(ended)
    tell(event="entry", job=ctx.job.id, room=ctx.job.room.name, metadata=ctx.job.metadata)

if __name__ == "__main__":
    cli.run_app(server)
"""

PYTHON_OPTIONS: Final = """\
import json, os
from livekit.agents import JobContext, WorkerOptions, cli

def tell(**event):
    with open(os.environ["TRAIL"], "a") as trail:
        trail.write(json.dumps(event) + "\\n")

async def entry(ctx: JobContext):
    async def ended(reason=""):
        tell(event="ended", job=ctx.job.id)
    ctx.add_shutdown_callback(ended)
    tell(event="entry", job=ctx.job.id, room=ctx.job.room.name, metadata=ctx.job.metadata)

if __name__ == "__main__":
    cli.run_app(WorkerOptions(
        entrypoint_fnc=entry, agent_name=os.environ["AGENT_NAME"], num_idle_processes=1, port=0,
        initialize_process_timeout=60, load_threshold=float("inf"),
    ))
"""

NODE: Final = """\
import { appendFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { ServerOptions, cli, defineAgent } from '@livekit/agents';

const tell = (event) => appendFileSync(process.env.TRAIL, JSON.stringify(event) + '\\n');

export default defineAgent({
  entry: async (ctx) => {
    ctx.addShutdownCallback(async () => tell({ event: 'ended', job: ctx.job.id }));
    tell({ event: 'entry', job: ctx.job.id, room: ctx.job.room.name, metadata: ctx.job.metadata });
  },
});

cli.runApp(new ServerOptions({
  agent: fileURLToPath(import.meta.url),
  agentName: process.env.AGENT_NAME,
  numIdleProcesses: 1,
  initializeProcessTimeout: 60_000,
  port: 0,
}));
"""


class Foreign:
    """A running worker of a real SDK, and the trail that its jobs leave."""

    def __init__(self, process: "subprocess.Popen[bytes]", trail: Path, log: Path) -> None:
        self.process = process
        self._trail = trail
        self._log = log

    async def told(self, event: str, timeout: float) -> dict[str, Any]:
        """Return the first event of this name, waiting for it."""
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline and self.process.poll() is None:
            for line in self._trail.read_text().splitlines():
                found: dict[str, Any] = json.loads(line)
                if found["event"] == event:
                    return found
            await asyncio.sleep(0.05)
        raise AssertionError(f"no {event!r} (exit code {self.process.poll()}): {self.log}")

    @property
    def log(self) -> str:
        return self._log.read_text()[-4000:]


@contextmanager
def running(command: Sequence[str], folder: Path, environment: dict[str, str]) -> Iterator[Foreign]:
    """Run a worker in its own session; afterwards nothing of the session is left."""
    trail, log = folder / "trail", folder / "log"
    trail.touch()
    clean = {"HOME": str(folder), "PATH": os.environ["PATH"], "TRAIL": str(trail), **environment}
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env=clean,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    try:
        yield Foreign(process, trail, log)
    finally:
        _end(process)


def _end(process: "subprocess.Popen[bytes]") -> None:
    try:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
            process.wait(timeout=5)
    except subprocess.TimeoutExpired:
        pass
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    deadline = time.monotonic() + 5
    while left := _of_session(process.pid):
        assert time.monotonic() < deadline, f"still there: {left}"
        time.sleep(0.02)


def _of_session(session: int) -> list[int]:
    """Return processes of a session that still run, whatever group they created."""
    found = []
    for pid in psutil.pids():
        with suppress(ProcessLookupError, psutil.NoSuchProcess):
            if os.getsid(pid) == session and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
                found.append(pid)
    return found
