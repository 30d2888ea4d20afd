"""Makes the pictures of this folder from a running app: real engine, embedded server, example agent.

python screenshots/make.py               # SVG and PNG, needs the dev dependencies and a monospace font
python screenshots/make.py agents-js     # only the pictures of that name
"""

import asyncio
import functools
import os
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import resvg_py
from textual.pilot import Pilot

from agent_tui.engine.config import RunConfig
from agent_tui.engine.engine import Engine
from agent_tui.model import commands as cmd
from agent_tui.model.child import ProcessKind
from agent_tui.model.state import AppState
from agent_tui.model.tuning import Load, Pattern, SweepPlan
from agent_tui.options.configfile import read_surroundings
from agent_tui.options.envfiles import Environment
from agent_tui.runtimes.interpreter import find_interpreter
from agent_tui.runtimes.kinds import AGENTS_JS, detect
from agent_tui.runtimes.node.find import find_node
from agent_tui.tui.app import AgentTuiApp
from agent_tui.tuning.grammar import parse_target
from agent_tui.tuning.tuner import make_engine

HERE = Path(__file__).parent
EXAMPLE = HERE.parent / "examples/native_agent.py"
EXAMPLE_JS = HERE.parent / "examples/agent.ts"
"""Needs `npm ci` in its folder."""

BROKEN = '''"""An agent with a colon missing."""


async def entry(ctx)
    await ctx.connect()
'''
CRASHING = '''"""An agent whose look-up fails."""

import asyncio

MENU = {"soup": 4}


async def entry(ctx):
    await asyncio.sleep(2)
    order(ctx.job.room.name)


def order(dish):
    return MENU[dish]
'''
SIZES = {"": (120, 40), "-80x24": (80, 24)}
LIMIT_S = 60.0
SWEEP_S = 180.0

Act = Callable[[AgentTuiApp, Pilot[int]], Awaitable[None]]


async def main() -> None:
    work = Path(os.environ.get("TMPDIR", "/tmp")) / "agent-tui-pictures"
    work.mkdir(exist_ok=True)
    (work / "agent.py").write_text(EXAMPLE.read_text())
    (work / "broken.py").write_text(BROKEN)
    os.chdir(work)
    for suffix, size in SIZES.items():
        await picture(f"dashboard{suffix}", work / "agent.py", size, _busy, dispatch=3)
    await picture("dashboard-light", work / "agent.py", (120, 40), _busy, dispatch=3, theme="textual-light")
    await picture("agents-js", EXAMPLE_JS, (120, 40), _blanks, dispatch=3)
    await picture("broken", work / "broken.py", (120, 40), lambda state: state.generation.failed > 0)
    await picture("help", work / "agent.py", (120, 40), lambda state: bool(state.worker.worker_id), press="?")
    await pages(work)
    tuned = work / "tuned"
    tuned.mkdir(exist_ok=True)
    (tuned / "agent.py").write_text((work / "agent.py").read_text())
    (tuned / "agent-tui.toml").write_text('agentName = "helpdesk"\nnumIdleProcesses = 2\n')
    await picture(
        "options", tuned / "agent.py", (120, 40), lambda state: bool(state.generation.current), press="E"
    )


async def pages(work: Path) -> None:
    """What opens over the dashboard, each with something in it."""
    crashing = work / "crashing.py"
    crashing.write_text(CRASHING)
    await picture("job", crashing, (120, 40), lambda state: state.totals.failed > 0, dispatch=1, act=_job)
    saved = work / "saved.py"
    saved.write_text(EXAMPLE.read_text())
    await picture("generations", saved, (120, 40), _registered, act=functools.partial(_save, saved))
    await picture(
        "tuning", HERE.parent / "examples/tuning_prewarm_300ms.py", (120, 40), _registered, act=_sweep
    )


async def _job(app: AgentTuiApp, pilot: Pilot[int]) -> None:
    await pilot.press("j")
    await pilot.pause(0.3)
    await pilot.press("enter")
    await pilot.pause(0.7)


async def _save(file: Path, app: AgentTuiApp, pilot: Pilot[int]) -> None:
    changed = EXAMPLE.read_text().replace("Servus", "Grüß Gott")
    await asyncio.to_thread(file.write_text, changed)
    while app.state.generation.current < 2:
        await pilot.pause(0.05)
    await pilot.press("g")
    await pilot.pause(0.7)


async def _sweep(app: AgentTuiApp, pilot: Pilot[int]) -> None:
    """A real one: it takes a minute."""
    load = Load(24, 2.0, Pattern.POISSON, job_length_s=1.0, seed=7)
    await app.handle.send(cmd.StartSweep(SweepPlan(load, (0, 1, 2, 3, 4)), parse_target("p95<100ms")))
    async with asyncio.timeout(SWEEP_S):
        while app.handle.state.tuning.sweeping:
            await pilot.pause(0.2)
    await pilot.press("T")
    await pilot.pause(1.0)


def _registered(state: AppState) -> bool:
    return state.worker.worker_id != "" and state.generation.current > 0


def _blanks(state: AppState) -> bool:
    return state.totals.started == 3 and any(each.kind is ProcessKind.BLANK for each in state.live_processes)


def _busy(state: AppState) -> bool:
    return state.totals.started == 3 and state.worker.worker_id != ""


async def picture(
    name: str,
    agent: Path,
    size: tuple[int, int],
    when: Callable[[AppState], bool],
    *,
    dispatch: int = 0,
    theme: str = "textual-dark",
    press: str = "",
    act: Act | None = None,
) -> None:
    """Runs the app until its state is as wanted, presses or does something, and saves what it shows."""
    if sys.argv[1:] and name not in sys.argv[1:]:
        return
    environ = {"PATH": os.environ["PATH"], "HOME": "/nonexistent"}
    runtime = detect(agent)
    is_js = runtime == AGENTS_JS
    interpreter = (
        find_node(agent, environ) if is_js else find_interpreter(agent, runtime, environ, sys.executable)
    )
    config = RunConfig(
        agent=agent,
        cwd=agent.parent,
        read_environment=lambda: _environment(agent, environ),
        runtime=runtime,
        interpreter=interpreter,
        local=True,
    )

    async def make() -> Engine:
        return make_engine(config)

    app = AgentTuiApp(make, dispatch=dispatch)
    async with app.run_test(size=size) as pilot:
        app.theme = theme
        async with asyncio.timeout(LIMIT_S):
            while not when(app.state):
                await pilot.pause(0.05)
        await pilot.pause(1.0)
        if act is not None:
            await act(app, pilot)
        if press:
            await pilot.press(press)
            await pilot.pause(0.3)
        svg = app.export_screenshot(title="agent-tui")
        await app.stop("picture taken", kill=False)
        await app.ended()
    (HERE / f"{name}.svg").write_text(svg, encoding="utf-8")
    png = resvg_py.svg_to_bytes(
        svg_string=svg, monospace_family="DejaVu Sans Mono", font_family="DejaVu Sans Mono"
    )
    (HERE / f"{name}.png").write_bytes(bytes(png))
    print(name)


def _environment(agent: Path, environ: dict[str, str]) -> Environment:
    return read_surroundings(agent, agent.parent, environ)


if __name__ == "__main__":
    asyncio.run(main())
