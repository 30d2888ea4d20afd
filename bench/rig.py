"""What the benches share: a server, agents that log their entries, workers, and dispatches.

An agent's entry function appends one line (Unix nanoseconds, the version of its code, the room) to a file, so
that all workers are measured from outside and in the same way.
"""

import asyncio
import json
import os
import signal
import statistics
import sys
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
from livekit import api

from agent_tui.local_server.server import LocalServer
from agent_tui.local_server.session import WorkerSession

ROOT = Path(__file__).parents[1]
HOST = [sys.executable, "-m", "agent_tui"]
SDK_PYTHON = ROOT / ".venvs/sdk-new/bin/python"
NODE_MODULES = ROOT / ".venvs/js/node_modules"
KEY, SECRET = "devkey", "secret"
"""The credentials of `livekit-server --dev`."""

_NOTE = """
import os, time
def note(room, version):
    line = f"{{time.time_ns()}} {{version}} {{room}}\\n".encode()
    fd = os.open({entries!r}, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(fd, line)
    os.close(fd)
"""
_NATIVE = """
async def entry(ctx):
    note(ctx.job.room.name, VERSION)
"""
_SDK = """
from livekit.agents import AgentServer, JobContext, cli
server = AgentServer(num_idle_processes={idle})

def prewarm(proc):
    pass

server.setup_fnc = prewarm

@server.rtc_session()
async def entry(ctx: JobContext):
    note(ctx.job.room.name, VERSION)
    ctx.shutdown("done")

if __name__ == "__main__":
    cli.run_app(server)
"""
_JS = """
import {{ appendFileSync }} from 'node:fs';
import {{ fileURLToPath }} from 'node:url';
import {{ ServerOptions, cli, defineAgent }} from '@livekit/agents';
{types}
export default defineAgent({{
  entry: async (ctx{of_context}) => {{
    appendFileSync({entries!r}, `${{Date.now()}}000000 ${{VERSION}} ${{ctx.job.room{sure}.name}}\\n`);
    ctx.shutdown('done');
  }},
}});

cli.runApp(new ServerOptions({{ agent: fileURLToPath(import.meta.url), numIdleProcesses: {idle} }}));
"""
BROKEN = "def broken_{version}(:\n"
"""A syntax error in each language."""


@dataclass(frozen=True, slots=True)
class Kind:
    """An agent to measure: its language and SDK, its number of other files, and its import time in s."""

    suffix: str = ".py"
    native: bool = False
    files: int = 0
    import_s: float = 0.0

    @property
    def is_node(self) -> bool:
        return self.suffix != ".py"


KINDS = {
    "native": Kind(native=True),
    "native-20": Kind(native=True, files=20),
    "native-1s": Kind(native=True, import_s=1.0),
    "sdk": Kind(),
    "sdk-20": Kind(files=20),
    "sdk-1s": Kind(import_s=1.0),
    "js": Kind(".mjs"),
    "js-20": Kind(".mjs", files=20),
    "js-1s": Kind(".mjs", import_s=1.0),
    "ts": Kind(".ts"),
    "ts-20": Kind(".ts", files=20),
}


def ways(kind: str, methods: Sequence[str], peers: Sequence[str]) -> tuple[str, ...]:
    """Return what to measure with a kind of agent: start methods, and peers if it uses an SDK."""
    if KINDS[kind].is_node:
        return ("blank", *peers)
    return (*methods, *(() if KINDS[kind].native else peers))


@dataclass(frozen=True, slots=True)
class Entry:
    """A call of a job's entry function: its time in Unix seconds, the version of the code, and the room."""

    at: float
    version: int
    room: str


class Project:
    """An agent in its own folder. Each save has another version. Its other files import each other."""

    def __init__(self, folder: Path, kind: Kind, idle: int = 1) -> None:
        self.agent = folder / f"agent{kind.suffix}"
        self.kind = kind
        self.saved = folder / f"part_{kind.files}{kind.suffix}" if kind.files else self.agent
        self._idle, self._entries = idle, folder / "entries.txt"
        if kind.is_node:
            (folder / "node_modules").symlink_to(NODE_MODULES)
            (folder / "package.json").write_text('{"type": "module"}\n')
            imported = "export {{ VERSION }} from './part_{}" + kind.suffix.replace("t", "j") + "';\n"
        else:
            (folder / "requirements.txt").touch()  # lk requires a project file
            imported = "from part_{} import VERSION\n"
        for number in range(1, kind.files):
            (folder / f"part_{number}{kind.suffix}").write_text(imported.format(number + 1))
        if kind.files:
            self.agent.write_text(imported.format(1).replace("export", "import") + self._functions())
        self.save(1)

    def save(self, version: int, *, rename: bool = False, broken: bool = False) -> float:
        """Write this version, in place or by atomic rename. Return when it was on disk, in Unix seconds."""
        text = f"VERSION = {version}\n"
        if self.kind.is_node:
            text = f"{'export ' if self.kind.files else ''}const {text}"
        if self.kind.import_s and self.kind.is_node:
            text += f"await new Promise((done) => setTimeout(done, {self.kind.import_s * 1000}));\n"
        elif self.kind.import_s:
            text += f"import time\ntime.sleep({self.kind.import_s})\n"
        if not self.kind.files:
            text += self._functions()
        if broken:
            text = BROKEN.format(version=version)
        target = self.saved.with_name(f".{self.saved.name}.swp") if rename else self.saved
        target.write_text(text)
        if rename:
            target.replace(self.saved)
        return time.time()

    def entries(self) -> list[Entry]:
        """Return all entries so far, the oldest first."""
        if not self._entries.exists():
            return []
        whole, _, _ = self._entries.read_text().rpartition("\n")  # a job may be writing the last line
        fields = [line.split() for line in whole.splitlines()]
        return sorted(
            (Entry(int(at) / 1e9, int(version), room) for at, version, room in fields), key=lambda e: e.at
        )

    def _functions(self) -> str:
        if self.kind.is_node:
            typed = self.kind.suffix == ".ts"
            return _JS.format(
                types="import type { JobContext } from '@livekit/agents';" if typed else "",
                of_context=": JobContext" if typed else "",
                sure="!" if typed else "",
                entries=str(self._entries),
                idle=self._idle,
            )
        functions = _NATIVE if self.kind.native else _SDK.format(idle=self._idle)
        return _NOTE.format(entries=str(self._entries)) + functions


PEERS = ("dev", "start")
"""Commands of the SDK's worker."""


def interpreter(python: str, node: str, *, is_node: bool) -> list[str]:
    """Return the flags that name the agent's interpreter."""
    return ["--node", node] if is_node else ["--python", python]


def command(
    project: Project, method: str, python: str, idle: int = 1, *, lk: str = "lk", node: str = "node"
) -> tuple[list[str], str]:
    """Return the command that serves the project, and a part of the line that it prints when it is ready.

    `method` is a start method of agent-tui, or a peer: "dev" or "start" for the SDK's worker, "lk" for
    `lk agent dev`.
    """
    agent = str(project.agent)
    flags = interpreter(python, node, is_node=project.kind.is_node)
    if method in PEERS:
        loader = ["--import", "tsx"] if project.kind.suffix == ".ts" else []
        return [*([node, *loader] if project.kind.is_node else [python]), agent, method], "registered worker"
    if method == "lk":
        return [lk, "agent", "dev", agent], "registered worker"
    ours = [*HOST, agent, "--headless", "--json", *flags, "--start-method", method]
    warm = "idle" if idle else "generation_ready"
    return [*ours, "--num-idle-processes", str(idle)], f'"{warm}"'


@dataclass
class Place:
    """A running server: its URL, dispatches, and the time of each offer."""

    url: str
    client: api.LiveKitAPI
    offered: dict[str, float] = field(default_factory=dict)
    """Room -> Unix seconds of its offer; known for the embedded server only."""
    asked: dict[str, float] = field(default_factory=dict)
    """Room -> Unix seconds of its dispatch."""

    @property
    def environ(self) -> dict[str, str]:
        return {
            **os.environ,
            "LIVEKIT_URL": self.url,
            "LIVEKIT_API_KEY": KEY,
            "LIVEKIT_API_SECRET": SECRET,
        }

    async def dispatch(self) -> str:
        """Create a room, which dispatches an agent without a name. Return the room."""
        room = f"room-{len(self.asked)}-{time.time_ns()}"
        self.asked[room] = time.time()
        await self.client.room.create_room(api.CreateRoomRequest(name=room))
        return room

    async def dispatch_every(self, seconds: float) -> None:
        """Dispatch until cancelled, without waiting for answers."""
        async with asyncio.TaskGroup() as group:
            while True:
                group.create_task(self.dispatch())
                await asyncio.sleep(seconds)


@asynccontextmanager
async def place(url: str | None = None) -> AsyncIterator[Place]:
    """Start the embedded server in this process, or use `livekit-server --dev` at that URL."""
    server = None if url else LocalServer(keys={KEY: SECRET})
    if server is not None:
        await server.start()
        url = server.url
    assert url is not None
    client = api.LiveKitAPI(f"http{url.removeprefix('ws')}", KEY, SECRET)
    here = Place(url, client)
    offer = WorkerSession.offer

    def noting(session: WorkerSession, job: Any) -> Any:
        here.offered[job.room.name] = time.time()
        return offer(session, job)

    WorkerSession.offer = noting  # type: ignore[assignment, method-assign]
    try:
        yield here
    finally:
        WorkerSession.offer = offer  # type: ignore[method-assign]
        await client.aclose()
        if server is not None:
            await server.close()


class Worker:
    """A running worker process, with its lines and the Unix seconds of their arrival."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.prints_events = False
        """Whether the worker prints its events as lines of JSON."""
        self.lines: list[tuple[float, str]] = []
        self._news = asyncio.Condition()
        self._reading = asyncio.create_task(self._read())

    async def until(self, mark: str, count: int = 1, limit_s: float = 120.0) -> float:
        """Wait for the `count`-th line that contains the mark. Return its time, in Unix seconds."""
        async with asyncio.timeout(limit_s), self._news:
            while len(found := [at for at, line in self.lines if mark in line]) < count:
                if self._reading.done():
                    tail = "\n".join(line for _, line in self.lines[-20:])
                    raise SystemExit(f"the worker ended without {mark!r}:\n{tail}")
                await self._news.wait()
        return found[count - 1]

    def events(self, since: int = 0) -> list[dict[str, Any]]:
        """Return the worker's events from that line on; none if it does not print events."""
        return [
            json.loads(line) for _, line in self.lines[since:] if self.prints_events and line.startswith("{")
        ]

    async def end(self) -> None:
        """End the whole process group gracefully, and kill what remains."""
        with suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGINT)
        _, running = await asyncio.wait({self._reading}, timeout=10)
        if running:
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
            await self._reading
        await self.process.wait()

    async def _read(self) -> None:
        assert self.process.stdout is not None
        async for line in self.process.stdout:
            async with self._news:
                self.lines.append((time.time(), line.decode(errors="replace")))
                self._news.notify_all()
        async with self._news:
            self._news.notify_all()


@asynccontextmanager
async def worker(
    command: Sequence[str], mark: str, environ: Mapping[str, str], cwd: Path | None = None
) -> AsyncIterator[Worker]:
    """Start the command, and wait for a line that contains the mark."""
    process = await asyncio.create_subprocess_exec(
        *command,
        env=environ,
        cwd=cwd,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        start_new_session=True,
        limit=2**24,
    )
    running = Worker(process)
    running.prints_events = "--json" in command
    try:
        await running.until(mark)
        yield running
    finally:
        await running.end()


@dataclass(frozen=True, slots=True)
class Cost:
    """The cost of a worker's process tree: processes, descriptors of its first process, PSS in MB."""

    processes: int
    fds: int
    pss_mb: float

    def __str__(self) -> str:
        return f"{self.processes} processes, {self.fds} fds in the host, {self.pss_mb:.1f} MB PSS"


def cost(pid: int) -> Cost:
    host = psutil.Process(pid)
    pss = 0
    tree = [host, *host.children(recursive=True)]
    for process in tree:
        with suppress(psutil.NoSuchProcess):
            pss += process.memory_full_info().pss
    return Cost(len(tree), host.num_fds(), pss / 2**20)


def cpu_s(pid: int) -> float:
    """Return the CPU seconds of a worker's process tree so far, including reaped processes."""
    host = psutil.Process(pid)
    total = 0.0
    for process in [host, *host.children(recursive=True)]:
        with suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            total += times.user + times.system + times.children_user + times.children_system
    return total


def spread(seconds: Sequence[float], unit: str = "s") -> str:
    """Return median, p95, and maximum, in seconds or milliseconds."""
    if not seconds:
        return "–"
    ordered, scale = sorted(seconds), 1000 if unit == "ms" else 1
    p95 = ordered[min(int(len(ordered) * 0.95), len(ordered) - 1)]
    digits = 1 if unit == "ms" else 3
    values = (statistics.median(ordered), p95, ordered[-1])
    median, high, worst = (f"{value * scale:.{digits}f}" for value in values)
    return f"median {median}, p95 {high}, max {worst} {unit} (n={len(ordered)})"
