"""A server, an agent, and a running agent-tui that gets constant dispatches, for faults to act on."""

import asyncio
import contextlib
import itertools
import json
import os
import random
import signal
import sys
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import psutil
from livekit.protocol.room import CreateRoomRequest

from agent_tui.engine.servers import server_api
from agent_tui.worker.urls import ServerAddress
from tests.chaos.agent_source import SOURCE
from tests.chaos.proxy import Proxy, proxy
from tests.cli.support import ENVIRON, Event, Run, agent_tui, marked
from tests.cli.test_servers import KEY, SECRET, free_port

IDLE = 2
DESCRIPTORS = 1024
"""The descriptor limit of agent-tui and the server: the default of most systems."""

RECOVERY_S = 60.0
"""Seconds within which agent-tui must recover from any fault. Retries are at most this far apart."""

FIRST_VERSION = 1_000_000
"""All versions have the same number of digits, so that a save can keep a file's size."""


@dataclass
class Chaos:
    """The running parts, what was done to them, and what agent-tui and its jobs reported."""

    run: Run
    folder: Path
    flags: Path
    port: int
    rng: random.Random
    server: asyncio.subprocess.Process
    way: Proxy
    errors: Path
    """What the servers wrote to stderr."""
    tasks: list[asyncio.Task[None]] = field(default_factory=list)
    """The tasks of the run; the last one dispatches."""
    done: Counter[str] = field(default_factory=Counter)
    version: int = FIRST_VERSION
    """The version of the code saved last."""
    served: int = FIRST_VERSION
    """The version of the newest code that ran a job."""
    dispatched: list[str] = field(default_factory=list)
    """Rooms that the server accepted."""
    events: dict[str, list[Event]] = field(default_factory=lambda: defaultdict(list))
    """Events by name, in order."""
    processes: dict[str, Event] = field(default_factory=dict)
    """The last event of each process, by its id."""
    said: dict[tuple[str, str], tuple[int, ...]] = field(default_factory=dict)
    """Versions that a job printed, by room and `start` or `end`."""
    harmed: set[int] = field(default_factory=set)
    """Pids to which a fault sent a signal."""
    offers: dict[str, str] = field(default_factory=dict)
    """The job's id by room."""
    answers: dict[str, Event] = field(default_factory=dict)
    """The answer to an offer, by the job's id."""
    open: set[str] = field(default_factory=set)
    """Jobs that were accepted and have not ended."""
    must_end: dict[str, str] = field(default_factory=dict)
    """Rooms whose jobs must end with this status."""
    numbers: Any = field(default_factory=lambda: itertools.count(1))

    @property
    def pid(self) -> int:
        return self.run.process.pid

    # -- reading --------------------------------------------------------------------------------------

    async def read(self) -> None:
        """Read events as they arrive, so that agent-tui never waits for its reader."""
        while True:
            await self.run.more()
            self._note(self.run.events[-1])

    async def read_errors(self) -> None:
        """Read stderr, on which agent-tui prints nothing while it runs."""
        assert self.run.process.stderr is not None
        while data := await self.run.process.stderr.read(65_536):
            self.run.stderr += data.decode()

    def _note(self, event: Event) -> None:
        self.events[event["event"]].append(event)
        if event["event"] == "process":
            self.processes[event["id"]] = event
        elif event["event"] == "offer":
            self.offers[event["room"]] = event["job_id"]
        elif event["event"] == "offer_answered":
            self.answers[event["job_id"]] = event
            if event["accepted"]:
                self.open.add(event["job_id"])
        elif event["event"] in ("job_ended", "job_lost"):
            self.open.discard(event["job_id"])
        elif event["event"] == "log" and event["text"].startswith("@ "):
            _, room, phase, *versions = event["text"].split()
            self.said[room, phase] = tuple(map(int, versions))

    async def stop(self, tasks: list[asyncio.Task[None]]) -> None:
        """Cancel these tasks, and wait until they have ended."""
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def check_alive(self) -> None:
        """Raise AssertionError if agent-tui or its server has ended or printed an error."""
        assert self.run.process.returncode is None, f"agent-tui has ended: {self.run.stderr}"
        assert self.run.stderr == ""
        assert self.server.returncode is None, "the server has ended"
        assert self.errors.read_text() == ""

    async def until(self, condition: Callable[[], object], what: str, limit_s: float = RECOVERY_S) -> None:
        """Wait until the condition holds. Raises AssertionError after the limit, or if a part has ended."""
        last = time.monotonic() + limit_s
        while not condition():
            self.check_alive()
            late = time.monotonic() > last
            assert not late, f"not within {limit_s:g} s: {what}; {len(self.open)} jobs open, {self.alive()}"
            await asyncio.sleep(0.02)

    # -- dispatches -----------------------------------------------------------------------------------

    @property
    def address(self) -> ServerAddress:
        return ServerAddress(f"ws://127.0.0.1:{self.port}", KEY, SECRET)

    async def dispatch(self, what: str) -> str:
        """Create a room, which starts a job, and return its name; the server may be down."""
        room = f"{what}-{next(self.numbers)}"
        with contextlib.suppress(Exception):
            async with server_api(self.address, room, 2) as client:
                await client.room.create_room(CreateRoomRequest(name=room))
                self.dispatched.append(room)
        return room

    async def keep_dispatching(self) -> None:
        """Keep as many jobs running as this machine can."""
        while True:
            if len(self.open) < SOURCE.most_open:
                await self.dispatch("short")
            await asyncio.sleep(SOURCE.every_s)

    async def end_dispatch(self, room: str) -> None:
        """Let the server terminate the room's job."""
        async with server_api(self.address, room, 5) as client:
            for each in await client.agent_dispatch.list_dispatch(room):
                await client.agent_dispatch.delete_dispatch(each.id, room)

    async def reaches(self, room: str, phase: str, limit_s: float = 15) -> bool:
        """Return whether the room's job prints that phase in time."""
        last = time.monotonic() + limit_s
        while (room, phase) not in self.said and time.monotonic() < last:
            self.check_alive()
            await asyncio.sleep(0.02)
        return (room, phase) in self.said

    def answer(self, room: str) -> Event:
        """Return the event of the answer to the room's offer; empty while there is none."""
        return self.answers.get(self.offers.get(room, ""), {})

    async def serves(self, first: int | None = None) -> None:
        """Wait until a new job runs on the current version. Raise AssertionError after the time limit.

        `first` is the oldest acceptable version: by default the last one known to have served, since a save
        may be overtaken by one that does not load.
        """
        first = self.served if first is None else first
        rooms: list[str] = []
        last = time.monotonic() + RECOVERY_S
        while not (found := self._versions(rooms)) & {*range(first, self.version + 1)}:
            self.check_alive()
            late = time.monotonic() > last
            assert not late, f"no job on {first}…{self.version}, but on {found or 'none'}"
            if rooms and len(self.open) >= SOURCE.most_open:
                await asyncio.sleep(0.1)
                continue
            rooms.append(await self.dispatch("probe"))
            await self.reaches(rooms[-1], "start", SOURCE.probe_s)
        self.served = max(found)

    def _versions(self, rooms: list[str]) -> set[int]:
        return {self.said[room, "start"][0] for room in rooms if (room, "start") in self.said}

    # -- the project ----------------------------------------------------------------------------------

    def save(self) -> None:
        """Save the next version of the project."""
        self.version += 1
        SOURCE.write(self.folder, self.flags, self.version)

    async def saved(self) -> None:
        """Save, and wait until that code serves."""
        self.save()
        await self.serves(self.version)

    # -- processes ------------------------------------------------------------------------------------

    def pids(self, kind: str, *states: str) -> list[int]:
        """Return the pids of the processes of that kind whose last state is one of these."""
        return [e["pid"] for e in self.processes.values() if e["kind"] == kind and e["state"] in states]

    def alive(self) -> dict[str, int]:
        """Return how many processes of each kind and state there are."""
        counts = Counter(f"{e['kind']} {e['state']}" for e in self.processes.values())
        return {name: count for name, count in counts.items() if not name.endswith("ended")}

    def send(self, number: signal.Signals, pid: int) -> None:
        """Send a signal to a process, which may have ended."""
        self.harmed.add(pid)
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)

    def send_one(self, number: signal.Signals, kind: str, state: str) -> None:
        """Send a signal to one of the processes of that kind and state, if there are any."""
        if pids := self.pids(kind, state):
            self.send(number, self.rng.choice(pids))

    async def warm(self) -> None:
        """Wait until the wanted number of processes is idle. Raise AssertionError after the time limit."""
        await self.until(lambda: len(self.pids("job", "idle")) == IDLE, f"{IDLE} idle processes")

    async def healthy(self) -> None:
        """Wait until the health endpoint answers 200. Raises AssertionError after the time limit."""
        last = time.monotonic() + RECOVERY_S
        while True:
            with contextlib.suppress(aiohttp.ClientError, OSError, TimeoutError):
                timeout = aiohttp.ClientTimeout(5)
                async with (
                    aiohttp.ClientSession(timeout=timeout) as client,
                    client.get(self.health) as answer,
                ):
                    if answer.status == 200:
                        return
            self.check_alive()
            late = time.monotonic() > last
            assert not late, f"not healthy within {RECOVERY_S:g} s"
            await asyncio.sleep(0.2)

    @property
    def health(self) -> str:
        """The URL of the health endpoint."""
        return str(self.events["http"][-1]["url"])

    def guards(self) -> list[int]:
        """Return the pids of the guard processes (`child/python/orphans.py`), which no event reports."""
        pids = []
        for each in psutil.Process(self.pid).children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):  # ended since, or a zombie
                if any(part.endswith("orphans.py") for part in each.cmdline()):
                    pids.append(each.pid)
        return pids

    def command(self, name: str, value: object) -> None:
        """Send a command to the engine."""
        assert self.run.process.stdin is not None
        self.run.process.stdin.write(json.dumps({name: value}).encode() + b"\n")

    def edit(self, **values: int) -> None:
        """Edit options."""
        self.command("set", {name: str(value) for name, value in values.items()})


async def start_server(port: int, errors: Path) -> asyncio.subprocess.Process:
    """Start `agent-tui server`; its port may still be in use by what was killed."""
    for _ in range(50):
        with errors.open("ab") as stderr:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "agent_tui", "server", "--json", "--port", str(port)),
                *("--api-key", KEY, "--api-secret", SECRET),
                stdout=asyncio.subprocess.PIPE,
                stderr=stderr,
                env=ENVIRON,
            )
        assert process.stdout is not None
        if await process.stdout.readline():
            limit_descriptors(process.pid)
            return process
        await process.wait()
        await asyncio.sleep(0.1)
    raise AssertionError(f"the server does not start at port {port}")


def limit_descriptors(pid: int) -> None:
    """Lower the limit to that of most systems."""
    psutil.Process(pid).rlimit(psutil.RLIMIT_NOFILE, (DESCRIPTORS, DESCRIPTORS))


@asynccontextmanager
async def chaos(tmp: Path, seed: int) -> AsyncIterator[Chaos]:
    """Start everything. Yields once the worker is registered, its first processes are idle, and dispatches
    have started.
    """
    folder, flags, temporary = (tmp / name for name in ("project", "flags", "tmp"))
    for each in (folder, flags, temporary):
        each.mkdir()
    needed = SOURCE.prepare(folder)
    SOURCE.write(folder, flags, FIRST_VERSION)
    port, errors = free_port(), tmp / "server.err"
    server = await start_server(port, errors)
    driver = Path(__file__).parents[1] / "options/outside/driven.py"
    options = (
        *("--json", "--port=0", f"--api-key={KEY}", f"--api-secret={SECRET}"),
        *(f"--num-idle-processes={IDLE}", f"--job-memory-limit-mb={SOURCE.limit_mb}", "--max-retry=1000"),
        *("--shutdown-process-timeout=5s", *needed),
    )
    under: Chaos | None = None
    try:
        async with (
            proxy(port) as way,
            agent_tui(
                *(*options, f"--url=ws://127.0.0.1:{way.port}"),
                cwd=folder,
                program=(driver,),
                environ={"TMPDIR": str(temporary)},
            ) as run,
        ):
            limit_descriptors(run.process.pid)
            under = Chaos(run, folder, flags, port, random.Random(seed), server, way, errors)
            tasks = [asyncio.create_task(each) for each in (under.read(), under.read_errors())]
            await under.until(lambda: under.events["registered"], "the registration")
            await under.warm()
            tasks.append(asyncio.create_task(under.keep_dispatching()))
            under.tasks = tasks
            try:
                yield under
            except BaseException:
                run.process.kill()  # it may be hanging for the same reason
                await run.process.wait()
                (tmp / "events.jsonl").write_text("".join(json.dumps(event) + "\n" for event in run.events))
                for pid in marked(run.mark):
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
                raise
            finally:
                await under.stop(tasks)
    finally:
        last = under.server if under else server
        with contextlib.suppress(ProcessLookupError):
            last.kill()
        await last.wait()


def memory_mb(pid: int) -> float:
    """Return the RSS of one process."""
    return float(psutil.Process(pid).memory_info().rss / 2**20)


def peak_mb(pid: int) -> float:
    """Return the most RSS that one process ever had."""
    status = Path(f"/proc/{pid}/status").read_text()
    (line,) = (line for line in status.splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) / 1024
