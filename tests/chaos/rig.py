"""A server, an agent and a driven run, with dispatches that never stop, and the faults to put on them."""

import asyncio
import contextlib
import itertools
import json
import os
import random
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
from livekit.protocol.room import CreateRoomRequest

from agent_tui.engine.api import server_api
from agent_tui.worker.urls import ServerAddress
from tests.chaos.proxy import Proxy, proxy
from tests.cli.support import Run, agent_tui
from tests.cli.test_servers import KEY, SECRET, free_port

SEED = int(os.environ.get("AGENT_TUI_CHAOS_SEED", "20261124"))
FAULTS = int(os.environ.get("AGENT_TUI_CHAOS_FAULTS", "100"))
PAUSE_S = 0.25
IDLE = 2
LIMIT_MB = 200

AGENT = """
import asyncio, os, time

def prewarm(proc):
    proc.userdata["warm"] = True

async def entry(ctx):
    what = ctx.job.room.name.split("-")[0]
    if what == "hog":
        hog = bytearray(300_000_000)
        await asyncio.sleep(20)
    if what == "block":
        time.sleep(0.8)
    if what == "raise":
        raise RuntimeError("as it was told")
    if what == "exit":
        os._exit(3)
    await asyncio.sleep(2 if what == "long" else 0.1)
    ctx.shutdown("done")
"""
BROKEN = "def entry(ctx:\n"
UNREADY = "def prewarm(proc):\n    raise OSError('no model')\n\nasync def entry(ctx): ...\n"


@dataclass
class Chaos:
    """What is running, and what was done to it."""

    run: Run
    folder: Path
    port: int
    rng: random.Random
    server: asyncio.subprocess.Process
    way: Proxy
    done: Counter[str] = field(default_factory=Counter)
    dispatched: int = 0
    numbers: Any = field(default_factory=lambda: itertools.count(1))

    # -- dispatches -----------------------------------------------------------------------------------

    async def dispatch(self, what: str) -> None:
        """A new room, which gives a job; a server that is away is no fault of ours."""
        address = ServerAddress(f"ws://127.0.0.1:{self.port}", KEY, SECRET)
        room = f"{what}-{next(self.numbers)}"
        with contextlib.suppress(Exception):
            async with server_api(address, room, 2) as client:
                await client.room.create_room(CreateRoomRequest(name=room))
                self.dispatched += 1

    async def keep_dispatching(self) -> None:
        while True:
            await self.dispatch("short")
            await asyncio.sleep(0.1)

    # -- faults ---------------------------------------------------------------------------------------

    def pids(self, kind: str, *states: str) -> list[int]:
        """Pids of the processes of that kind whose last state is one of these."""
        last: dict[str, dict[str, Any]] = {}
        for event in self.run.all("process"):
            last[event["id"]] = event
        return [e["pid"] for e in last.values() if e["kind"] == kind and e["state"] in states]

    def signal(self, number: signal.Signals, kind: str, *states: str) -> None:
        if pids := self.pids(kind, *states):
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.rng.choice(pids), number)

    async def kill_job(self) -> None:
        self.signal(signal.SIGKILL, "job", "job")

    async def kill_idle(self) -> None:
        self.signal(signal.SIGKILL, "job", "idle")

    async def kill_control(self) -> None:
        self.signal(signal.SIGKILL, "control", "starting")

    async def kill_base(self) -> None:
        self.signal(signal.SIGKILL, "base", "starting")

    async def stop_job(self) -> None:
        if pids := self.pids("job", "job", "idle"):
            pid = self.rng.choice(pids)
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGSTOP)
                await asyncio.sleep(0.3)
                os.kill(pid, signal.SIGCONT)

    async def terminate_job(self) -> None:
        self.signal(signal.SIGTERM, "job", "job")

    async def hog_memory(self) -> None:
        await self.dispatch("hog")

    async def block_loop(self) -> None:
        await self.dispatch("block")

    async def raise_in_entry(self) -> None:
        await self.dispatch("raise")

    async def exit_in_entry(self) -> None:
        await self.dispatch("exit")

    async def long_job(self) -> None:
        await self.dispatch("long")

    async def save(self) -> None:
        (self.folder / "agent.py").write_text(f"{AGENT}\n# {self.rng.random()}\n")

    async def broken_save(self) -> None:
        (self.folder / "agent.py").write_text(BROKEN)
        await asyncio.sleep(0.3)
        await self.save()

    async def unready_save(self) -> None:
        (self.folder / "agent.py").write_text(UNREADY)
        await asyncio.sleep(0.3)
        await self.save()

    async def restart_server(self) -> None:
        self.server.kill()
        await self.server.wait()
        self.server = await start_server(self.port)

    async def freeze_server(self) -> None:
        self.server.send_signal(signal.SIGSTOP)
        await asyncio.sleep(0.5)
        self.server.send_signal(signal.SIGCONT)

    async def cut_connection(self) -> None:
        self.way.cut()

    async def hang_connection(self) -> None:
        await self.way.hang(0.6)

    async def fill_descriptors(self) -> None:
        """For a moment the command can open nothing more."""
        process = psutil.Process(self.run.process.pid)
        usual = process.rlimit(psutil.RLIMIT_NOFILE)
        process.rlimit(psutil.RLIMIT_NOFILE, (process.num_fds() + 2, usual[1]))
        await asyncio.sleep(0.4)
        process.rlimit(psutil.RLIMIT_NOFILE, usual)

    async def fill_disk(self) -> None:
        """No file takes another byte: an editor truncates the agent, and options cannot be saved."""
        process = psutil.Process(self.run.process.pid)
        usual = process.rlimit(psutil.RLIMIT_FSIZE)
        process.rlimit(psutil.RLIMIT_FSIZE, (0, usual[1]))
        (self.folder / "agent.py").write_text("")
        self._edit(maxRetry=self.rng.randrange(500, 900))
        self._command("save", False)
        await asyncio.sleep(0.4)
        process.rlimit(psutil.RLIMIT_FSIZE, usual)
        await self.save()

    async def save_options(self) -> None:
        self._command("save", False)

    async def edit_options(self) -> None:
        self._edit(numIdleProcesses=self.rng.randrange(4), maxRetry=self.rng.randrange(500, 900))

    async def edit_back(self) -> None:
        """The idle processes that there are to be in the end."""
        self._edit(numIdleProcesses=IDLE)

    def _edit(self, **values: int) -> None:
        self._command("set", {name: str(value) for name, value in values.items()})

    def _command(self, name: str, value: object) -> None:
        assert self.run.process.stdin is not None
        self.run.process.stdin.write(json.dumps({name: value}).encode() + b"\n")


FAULT_NAMES = (
    "kill_job",
    "kill_idle",
    "kill_control",
    "kill_base",
    "stop_job",
    "terminate_job",
    "hog_memory",
    "block_loop",
    "raise_in_entry",
    "exit_in_entry",
    "long_job",
    "save",
    "broken_save",
    "unready_save",
    "restart_server",
    "freeze_server",
    "cut_connection",
    "hang_connection",
    "fill_descriptors",
    "fill_disk",
    "save_options",
    "edit_options",
)


async def start_server(port: int) -> asyncio.subprocess.Process:
    """`agent-tui server`; its port may still be in use by what was killed."""
    for _ in range(50):
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "agent_tui", "server", "--json", "--port", str(port)),
            *("--api-key", KEY, "--api-secret", SECRET),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
            env={"HOME": "/nonexistent", "PATH": "/usr/bin:/bin"},
        )
        assert process.stdout is not None
        if await process.stdout.readline():
            return process
        await process.wait()
        await asyncio.sleep(0.1)
    raise AssertionError(f"the server does not come up at port {port}")


@asynccontextmanager
async def chaos(folder: Path) -> AsyncIterator[Chaos]:
    """Everything up, warm and dispatching."""
    port = free_port()
    (folder / "agent.py").write_text(AGENT)
    server = await start_server(port)
    driver = Path(__file__).parents[1] / "options/outside/driven.py"
    flags = (
        *("--json", f"--api-key={KEY}", f"--api-secret={SECRET}"),
        *(f"--num-idle-processes={IDLE}", f"--job-memory-limit-mb={LIMIT_MB}", "--max-retry=1000"),
        "--shutdown-process-timeout=5s",
    )
    made: Chaos | None = None
    try:
        async with (
            proxy(port) as way,
            agent_tui(*flags, f"--url=ws://127.0.0.1:{way.port}", cwd=folder, program=(driver,)) as run,
        ):
            await run.until("process", kind="job", state="idle", count=IDLE)
            made = Chaos(run, folder, port, random.Random(SEED), server, way)
            yield made
    finally:
        last = made.server if made else server
        with contextlib.suppress(ProcessLookupError):
            last.kill()
        await last.wait()


def memory_mb(pid: int) -> float:
    """RSS of agent-tui's own process."""
    return float(psutil.Process(pid).memory_info().rss / 2**20)
