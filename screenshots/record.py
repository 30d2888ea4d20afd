"""Record the runs that the pictures of this folder show: real engine, embedded server, real agents.

python screenshots/record.py             # all, a few minutes; needs `make sdks`, and `npm ci` in examples/
python screenshots/record.py calls edit  # only these
"""

import asyncio
import os
import shutil
import sys
from collections.abc import Awaitable, Callable
from itertools import count
from pathlib import Path

from recording import Caption, Recording, finished, recorded

from agent_tui.engine.config import RunConfig
from agent_tui.engine.engine import Engine
from agent_tui.model import commands as cmd
from agent_tui.model.child import ProcessKind
from agent_tui.model.events import Stamped
from agent_tui.model.state import AppState
from agent_tui.model.tuning import Pattern, SweepPlan, TestLoad
from agent_tui.options.configfile import read_environment_and_config
from agent_tui.options.envfiles import Environment
from agent_tui.runtimes.interpreter import find_interpreter
from agent_tui.runtimes.kinds import AGENTS_JS, detect
from agent_tui.runtimes.node.find import find_node
from agent_tui.tuning.grammar import parse_target
from agent_tui.tuning.tuner import make_engine

HERE = Path(__file__).parent
EXAMPLES = HERE.parent / "examples"
AGENT = HERE / "frontdesk/agent.py"
PYTHON = HERE.parent / ".venvs/sdk-new/bin/python"
HOME = "/home/ann"
"""The home folder in the pictures; the project is in it."""

BROKEN = '''"""An agent with a colon missing."""


async def entry(ctx)
    await ctx.connect()
'''
DISPATCH_S = 0.5
LIMIT_S = 180.0

Moments = list[Stamped | Caption]
Scenario = Callable[["Stage"], Awaitable[None]]


class Stage:
    """A running engine with its own project folder."""

    def __init__(self, engine: Engine, moments: Moments, agent: Path) -> None:
        self.engine, self.moments, self.agent = engine, moments, agent

    @property
    def state(self) -> AppState:
        return self.engine.state

    async def until(self, happens: Callable[[], bool]) -> None:
        async with asyncio.timeout(LIMIT_S):
            while not happens():  # noqa: ASYNC110  there is no event to wait for
                await asyncio.sleep(0.05)

    async def ready(self, idle: int) -> None:
        """Wait until the worker is registered and this many processes are warm."""
        await self.until(lambda: self.engine.state.is_ready_for_tests(idle))

    async def dispatch(self, *rooms: str) -> None:
        for room in rooms:
            await self.engine.send(cmd.Dispatch(room=room, length_s=600))
            await asyncio.sleep(0.3)

    async def save(self, old: str, new: str) -> None:
        """Save the agent file with this change as editors do: write another file and rename it."""
        fresh = self.agent.with_name(f".{self.agent.name}.swp")
        fresh.write_text(self.agent.read_text().replace(old, new))
        await asyncio.to_thread(fresh.replace, self.agent)

    def caption(self, text: str) -> None:
        self.moments.append(Caption(self.moments[-1].ts, text))


async def calls(stage: Stage) -> None:
    """Play running calls: one uses much memory, one failed, and two run on the code before a save."""
    await stage.ready(2)
    await stage.dispatch("terrace-3", "garage-3", "kitchen", "lobby")
    await asyncio.sleep(9)
    await stage.save("Good evening", "Good morning")
    await stage.until(lambda: stage.state.generation.current == 2)
    await stage.dispatch("lobby-90")
    await asyncio.sleep(3.5)


async def crash(stage: Stage) -> None:
    """Run a job whose entry function raises."""
    await stage.ready(2)
    await stage.dispatch("garage-2")
    await stage.until(lambda: stage.state.totals.failed > 0)
    await asyncio.sleep(1)


async def edit(stage: Stage) -> None:
    """Save while calls run: code that works, code that does not load, and its correction."""
    await stage.ready(2)
    await stage.dispatch("lobby")
    await asyncio.sleep(1)
    await stage.save("Good evening", "Good morning")
    await stage.until(lambda: stage.state.generation.current == 2)
    await stage.dispatch("terrace")
    await stage.save('"double": 140}', '"double": 140')
    await stage.until(lambda: stage.state.generation.failed > 0)
    await asyncio.sleep(0.5)
    await stage.save('"double": 140', '"double": 140, "suite": 210}')
    await stage.until(lambda: stage.state.generation.current > 2)
    await asyncio.sleep(1)


async def broken(stage: Stage) -> None:
    """Save a file that does not load."""
    await stage.until(lambda: stage.state.generation.failed > 0)
    await asyncio.sleep(1)


async def javascript(stage: Stage) -> None:
    """Run three jobs of an agents-js file."""
    await stage.until(lambda: stage.state.generation.current > 0)
    await stage.dispatch("demo-1", "demo-2", "demo-3")
    await stage.until(lambda: stage.state.totals.started == 3)
    await stage.until(lambda: any(each.kind is ProcessKind.BLANK for each in stage.state.live_processes))
    await asyncio.sleep(1)


async def sweep(stage: Stage) -> None:
    """Run a sweep, which takes a minute."""
    await stage.ready(1)
    load = TestLoad(24, 2.0, Pattern.POISSON, job_length_s=1.0, seed=7)
    await stage.engine.send(cmd.StartSweep(SweepPlan(load, (0, 1, 2, 3, 4)), parse_target("p95<100ms")))
    await asyncio.sleep(1)
    await stage.until(lambda: not stage.state.tuning.sweeping)
    await asyncio.sleep(1)


async def saves(stage: Stage) -> None:
    """Save during dispatches, once with code that does not load."""
    await stage.ready(2)
    await asyncio.sleep(2)

    async def dispatch() -> None:
        for number in count(1):
            await stage.engine.send(cmd.Dispatch(room=f"lobby-{2 + number % 2}"))
            await asyncio.sleep(DISPATCH_S)

    stage.caption(f"a dispatch every {DISPATCH_S:g} s, on agent.py as it is: generation 1")
    dispatching = asyncio.create_task(dispatch())
    await asyncio.sleep(2.5)
    stage.caption("agent.py saved: new jobs run generation 2, running jobs finish on generation 1")
    await stage.save("Good evening", "Good morning")
    await stage.until(lambda: stage.state.generation.current == 2)
    await asyncio.sleep(3)
    stage.caption("saved with a syntax error: generation 2 continues, and the screen says what is wrong")
    await stage.save("JobContext) -> None:", "JobContext) -> None")
    await stage.until(lambda: stage.state.generation.failed > 0)
    await asyncio.sleep(3)
    stage.caption("fixed and saved: new jobs run the new code")
    await stage.save("JobContext) -> None", "JobContext) -> None:")
    await stage.until(lambda: stage.state.generation.current > 2)
    await asyncio.sleep(2.5)
    if dispatching.done():
        dispatching.result()
    dispatching.cancel()

    def all_ended() -> bool:
        totals = stage.state.totals
        return totals.dispatched == totals.success + totals.failed + totals.terminated + totals.lost

    await stage.until(all_ended)
    totals = stage.state.totals
    done = f"{totals.dispatched} dispatches, {totals.success} jobs succeeded, {totals.lost} lost"
    stage.caption(f"{done}, never off the server")
    await asyncio.sleep(0.5)


PROJECTS: dict[str, tuple[Scenario, Path | str, str]] = {
    "calls": (calls, AGENT, "numIdleProcesses = 2\njobMemoryWarnMB = 100\njobMemoryLimitMB = 200\n"),
    "crash": (crash, AGENT, "numIdleProcesses = 2\n"),
    "edit": (edit, AGENT, "numIdleProcesses = 2\n"),
    "saves": (saves, AGENT, "numIdleProcesses = 2\n"),
    "broken": (broken, BROKEN, ""),
    "agents-js": (javascript, EXAMPLES / "agent.ts", ""),
    "sweep": (sweep, EXAMPLES / "tuning_prewarm_300ms.py", ""),
}
"""By name: what happens, the agent file (a path or its text), and its agent-tui.toml."""


async def record(name: str, home: Path) -> Recording:
    """Run a scenario in a new project and return what happened."""
    happen, source, options = PROJECTS[name]
    folder = home / "frontdesk"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    if isinstance(source, str):
        agent = folder / "agent.py"
        agent.write_text(source)
    else:
        agent = folder / f"agent{source.suffix}"
        agent.write_text(source.read_text())
    if agent.suffix == ".ts":
        shutil.copy(EXAMPLES / "package.json", folder)
        (folder / "node_modules").symlink_to(EXAMPLES / "node_modules")
    if options:
        (folder / "agent-tui.toml").write_text(options)
    environ = {"PATH": os.environ["PATH"], "HOME": str(home), "XDG_STATE_HOME": str(home / ".state")}
    runtime = detect(agent)
    is_js = runtime == AGENTS_JS
    interpreter = (
        find_node(agent, environ) if is_js else find_interpreter(agent, runtime, environ, str(PYTHON))
    )

    def read_environment() -> Environment:
        return read_environment_and_config(agent, folder, environ)

    engine = make_engine(
        RunConfig(
            agent=agent,
            cwd=folder,
            read_environment=read_environment,
            runtime=runtime,
            interpreter=interpreter,
            local=True,
        )
    )
    async with recorded(engine) as moments:
        await happen(Stage(engine, moments, agent))
        state = engine.state
        commands: list[cmd.Command] = [cmd.DescribeJob(job) for job in state.jobs]
        commands += [cmd.DiffGeneration(load.number) for load in state.loads]
        commands += [cmd.DumpStacks(each.id) for each in state.live_processes]
        recording = await finished(engine, moments, commands)
        await engine.send(cmd.Stop("recorded"))
        await engine.closed()
    return recording


async def main() -> None:
    home = Path(os.environ.get("TMPDIR", "/tmp")) / "agent-tui-recordings"
    (HERE / "recordings").mkdir(exist_ok=True)
    renamed = {
        str(home): HOME,
        str(PYTHON.parent.parent): f"{HOME}/frontdesk/.venv",
        str(HERE.parent): f"{HOME}/agent-tui",
        str(Path.home()): HOME,
    }
    for name in sys.argv[1:] or PROJECTS:
        recording = await record(name, home)
        recording.save(HERE / f"recordings/{name}.jsonl", renamed)
        print(f"{name}: {recording.end - recording.start:.1f} s, {len(recording.moments)} moments")


if __name__ == "__main__":
    asyncio.run(main())
