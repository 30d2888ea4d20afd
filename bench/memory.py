"""Measures the memory (PSS) of all processes, including the screen, with idle processes and with live calls.

Measures an agent without an AgentSession, one with an AgentSession, whose local end-of-turn weights take 210
MB, and an agents-js one, and compares them with the SDK's worker, which has no screen. agent-tui runs once
before, because its startup hints change the second run. Live calls need a real server (`--url`, started with
--dev): the bench adds one call at a time, and prints what it adds.

    python bench/memory.py [--idle 4] [--peers dev] [--url ws://127.0.0.1:7880 --calls 2]
"""

import argparse
import asyncio
import itertools
import os
import tempfile
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import rig
from terminal import Terminal

SETTLE_S = 20.0
"""Longer than the time after which an unused base frees memory."""
CALL_S = 8.0

_PLAIN = """
from livekit.agents import AgentServer, JobContext, cli
server = AgentServer(num_idle_processes={idle})

@server.rtc_session()
async def entry(ctx: JobContext):
    await ctx.connect()

if __name__ == "__main__":
    cli.run_app(server)
"""
_SESSION = """
from livekit.agents import Agent, AgentServer, AgentSession, JobContext, cli
server = AgentServer(num_idle_processes={idle})

@server.rtc_session()
async def entry(ctx: JobContext):
    session = AgentSession()
    await session.start(Agent(instructions="be kind"), room=ctx.room)
    open({started!r}, "a").write("started\\n")

if __name__ == "__main__":
    cli.run_app(server)
"""
_JS = """
import {{ fileURLToPath }} from 'node:url';
import {{ ServerOptions, cli, defineAgent }} from '@livekit/agents';
export default defineAgent({{ entry: async (ctx) => ctx.connect() }});
cli.runApp(new ServerOptions({{ agent: fileURLToPath(import.meta.url), numIdleProcesses: {idle} }}));
"""
SCENARIOS = {"no AgentSession": _PLAIN, "an AgentSession": _SESSION, "agents-js": _JS}


@asynccontextmanager
async def ours(command: list[str], environ: Mapping[str, str], idle: int) -> AsyncIterator[int]:
    """Run agent-tui with its screen. Yields its pid."""
    terminal = Terminal(command, environ)
    try:
        await asyncio.to_thread(terminal.until, f"{idle}/{idle}".encode(), 60.0)
        yield terminal.process.pid
    finally:
        terminal.press(b"q")
        await asyncio.sleep(0.5)
        terminal.press(b"q")  # the second q kills: calls may take long
        await asyncio.to_thread(terminal.process.wait)


@asynccontextmanager
async def theirs(command: list[str], environ: Mapping[str, str], idle: int) -> AsyncIterator[int]:
    """Run the SDK's worker. Yields its pid. Its idle processes start one after the other."""
    async with rig.worker(command, "registered worker", environ) as worker:
        await asyncio.sleep(2.0 * idle)
        yield worker.process.pid


class Scenario:
    """One agent file, with its own folder and cache."""

    def __init__(self, folder: Path, text: str, options: argparse.Namespace) -> None:
        self.started = folder / "started.txt"
        self._is_node = text is _JS
        self.agent = folder / ("agent.mjs" if self._is_node else "agent.py")
        if self._is_node:
            (folder / "node_modules").symlink_to(rig.NODE_MODULES)
        self.agent.write_text(text.format(idle=options.idle, started=str(self.started)))
        self._folder, self._options = folder, options

    def command(self, worker: str) -> list[str]:
        if worker == "dev":
            return [self._options.node if self._is_node else self._options.python, str(self.agent), "dev"]
        flags = rig.interpreter(self._options.python, self._options.node, is_node=self._is_node)
        return [*rig.HOST, str(self.agent), *flags]

    async def cost(self, place: rig.Place, worker: str, calls: int, settle_s: float) -> list[rig.Cost]:
        """Return the costs at rest, and with each further call."""
        environ = {**place.environ, "XDG_CACHE_HOME": str(self._folder / "cache")}
        start = theirs if worker == "dev" else ours
        self.started.unlink(missing_ok=True)
        async with start(self.command(worker), environ, self._options.idle) as pid:
            await asyncio.sleep(settle_s)
            found = [rig.cost(pid)]
            for count in range(1, calls + 1):
                await place.dispatch()
                await self._sessions(count)
                await asyncio.sleep(CALL_S)
                found.append(rig.cost(pid))
        return found

    async def _sessions(self, count: int) -> None:
        deadline = time.monotonic() + 60
        while not self.started.exists() or self.started.read_text().count("started") < count:
            if time.monotonic() > deadline:
                raise SystemExit(f"no session started in {self.agent}")
            await asyncio.sleep(0.1)


async def measure(options: argparse.Namespace) -> None:
    for name in options.scenarios:
        text = SCENARIOS[name]
        calls = options.calls if options.url and text is _SESSION else 0
        at_rest = {}
        for worker in ("agent-tui", *options.peers):
            with tempfile.TemporaryDirectory() as folder:
                scenario = Scenario(Path(folder), text, options)
                async with rig.place(options.url) as place:
                    if worker == "agent-tui" and calls:
                        await scenario.cost(place, worker, 1, 0.0)  # writes the startup hints
                    costs = await scenario.cost(place, worker, calls, SETTLE_S)
            at_rest[worker] = costs[0].pss_mb
            print(f"{name}: {worker}, {options.idle} idle: {costs[0]}")
            for before, after in itertools.pairwise(costs):
                print(f"  one more call adds {after.pss_mb - before.pss_mb:.1f} MB")
        for peer in options.peers:
            print(f"{name}: ratio to {peer} {at_rest['agent-tui'] / at_rest[peer]:.2f}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--idle", type=int, default=4)
    parser.add_argument("--calls", type=int, default=2)
    parser.add_argument("--peers", nargs="*", default=["dev"], help="dev: the SDK's worker")
    parser.add_argument("--scenarios", nargs="*", choices=SCENARIOS, default=list(SCENARIOS))
    parser.add_argument("--python", default=str(rig.SDK_PYTHON))
    parser.add_argument("--node", default="node")
    parser.add_argument("--url", help="a real server, started with --dev")
    options = parser.parse_args()
    print(f"{os.cpu_count()} cores")
    asyncio.run(measure(options))


if __name__ == "__main__":
    main()
