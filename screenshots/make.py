"""Take the pictures of this folder from a running app: real engine, embedded server, example agents.

python screenshots/make.py               # all, as SVG and PNG; needs a monospace font
python screenshots/make.py agents-js     # only the picture of that name
python screenshots/make.py saves         # the animated one; needs `make sdks`
"""

import asyncio
import functools
import io
import os
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path

import resvg_py
from animation import Frame, animated, still, without_repeats
from rich.console import Console, RenderableType
from textual.pilot import Pilot

from agent_tui.engine.config import RunConfig
from agent_tui.engine.engine import Engine
from agent_tui.model import commands as cmd
from agent_tui.model.child import ProcessKind
from agent_tui.model.state import AppState
from agent_tui.model.tuning import Pattern, SweepPlan, TestLoad
from agent_tui.options.configfile import read_environment_and_config
from agent_tui.options.envfiles import Environment
from agent_tui.runtimes.interpreter import find_interpreter
from agent_tui.runtimes.kinds import AGENTS_JS, detect
from agent_tui.runtimes.node.find import find_node
from agent_tui.tui.app import AgentTuiApp
from agent_tui.tuning.grammar import parse_target
from agent_tui.tuning.tuner import make_engine

HERE = Path(__file__).parent
EXAMPLE = HERE.parent / "examples/native_agent.py"
EXAMPLE_SDK = HERE.parent / "examples/livekit_agent.py"
SDK_PYTHON = HERE.parent / ".venvs/sdk-new/bin/python"
EXAMPLE_JS = HERE.parent / "examples/agent.ts"
"""An agents-js example. It needs `npm ci` in its folder."""

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
FILM_SIZE = (112, 30)
FRAME_S = 0.15
DISPATCH_S = 0.5
HOLD_S = 3.0
FILM_STILLS = 10
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
    await saves(work)
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


async def saves(work: Path) -> None:
    """Film saves during dispatches, a broken one included, as one animated SVG."""
    if not _is_asked_for("saves"):
        return
    if not SDK_PYTHON.exists():
        print(f"saves: skipped, needs {SDK_PYTHON} (make sdks)")
        return
    (work / "saves").mkdir(exist_ok=True)
    agent = work / "saves/agent.py"
    # Without media, the SDK creates a fake room per job, which blocks its loop for 0.1 s and logs a warning.
    quiet = 'logging.getLogger("livekit.agents").setLevel(logging.ERROR)'
    code = EXAMPLE_SDK.read_text().replace("server = AgentServer()", f"server = AgentServer()\n{quiet}")
    agent.write_text(code)
    shots: list[tuple[float, RenderableType, str]] = []
    caption = ""
    over = asyncio.Event()

    async def film(app: AgentTuiApp) -> None:
        while not over.is_set():
            # The first step of `export_screenshot`. The other steps are slow, and would slow down the app.
            shot = app.screen._compositor.render_update(full=True, simplify=True)
            assert shot is not None
            shots.append((time.monotonic(), shot, caption))
            await asyncio.sleep(FRAME_S)

    async def dispatch(app: AgentTuiApp) -> None:
        for number in count(1):
            await app.engine.send(cmd.Dispatch(room=f"demo-{number}"))
            await asyncio.sleep(DISPATCH_S)

    def save(text: str) -> None:
        fresh = agent.with_name(".agent.py.swp")
        fresh.write_text(text)
        fresh.replace(agent)

    async def until(happens: Callable[[], bool]) -> None:
        async with asyncio.timeout(LIMIT_S):
            while not happens():  # noqa: ASYNC110  there is no event to wait for
                await asyncio.sleep(0.05)

    async with running(agent, FILM_SIZE, _registered, python=str(SDK_PYTHON)) as (app, pilot):
        app.set_focus(None)
        await pilot.pause(2.0)
        caption = f"a dispatch every {DISPATCH_S:g} s, on agent.py as it is: generation 1"
        filming, dispatching = asyncio.create_task(film(app)), asyncio.create_task(dispatch(app))
        await pilot.pause(2.5)
        caption = "agent.py saved: new jobs run generation 2, running jobs finish on generation 1"
        save(code.replace("Servus", "Grüß Gott"))
        await until(lambda: app.state.generation.current == 2)
        await pilot.pause(3.0)
        caption = "saved with a syntax error: generation 2 goes on, and the screen says what is wrong"
        save(code.replace("JobContext) -> None:", "JobContext) -> None"))
        await until(lambda: app.state.generation.failed > 0)
        await pilot.pause(3.0)
        caption = "fixed and saved: new jobs run the new code"
        save(code.replace("Servus", "Moin"))
        await until(lambda: app.state.generation.current > 2)
        await pilot.pause(2.5)
        if dispatching.done():
            dispatching.result()
        dispatching.cancel()
        await until(lambda: _all_ended(app.state))
        totals = app.state.totals
        done = f"{totals.dispatched} dispatches, {totals.success} jobs succeeded, {totals.lost} lost"
        caption = f"{done}, never off the server"
        await pilot.pause(0.5)
        over.set()
        await filming
    frames = without_repeats([Frame(at, _svg_of(shot), caption) for at, shot, caption in shots])
    (HERE / "saves.svg").write_text(animated(frames, HOLD_S), encoding="utf-8")
    for number in range(FILM_STILLS):
        frame = frames[number * (len(frames) - 1) // (FILM_STILLS - 1)]
        (work / f"saves-{number}.png").write_bytes(png_of(still(frame)))
    print(f"saves: {len(frames)} frames, some of them as PNG in {work}")


async def pages(work: Path) -> None:
    """Take pictures of pages, each with content."""
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
    """Run a real sweep, which takes a minute, and open its page."""
    load = TestLoad(24, 2.0, Pattern.POISSON, job_length_s=1.0, seed=7)
    await app.engine.send(cmd.StartSweep(SweepPlan(load, (0, 1, 2, 3, 4)), parse_target("p95<100ms")))
    async with asyncio.timeout(SWEEP_S):
        while app.engine.state.tuning.sweeping:
            await pilot.pause(0.2)
    await pilot.press("T")
    await pilot.pause(1.0)


def _registered(state: AppState) -> bool:
    return state.worker.worker_id != "" and state.generation.current > 0


def _blanks(state: AppState) -> bool:
    return state.totals.started == 3 and any(each.kind is ProcessKind.BLANK for each in state.live_processes)


def _all_ended(state: AppState) -> bool:
    totals = state.totals
    return totals.dispatched == totals.success + totals.failed + totals.terminated + totals.lost


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
    """Run the app until `when` holds, press keys or run `act`, and save the screen as SVG and PNG."""
    if not _is_asked_for(name):
        return
    async with running(agent, size, when, dispatch=dispatch, theme=theme) as (app, pilot):
        await pilot.pause(1.0)
        if act is not None:
            await act(app, pilot)
        if press:
            await pilot.press(press)
            await pilot.pause(0.3)
        svg = app.export_screenshot(title="agent-tui")
    (HERE / f"{name}.svg").write_text(svg, encoding="utf-8")
    (HERE / f"{name}.png").write_bytes(png_of(svg))
    print(name)


@asynccontextmanager
async def running(
    agent: Path,
    size: tuple[int, int],
    when: Callable[[AppState], bool],
    *,
    dispatch: int = 0,
    theme: str = "textual-dark",
    python: str = sys.executable,
) -> AsyncIterator[tuple[AgentTuiApp, Pilot[int]]]:
    """Run the app without a terminal. Yields once `when` holds."""
    environ = {"PATH": os.environ["PATH"], "HOME": "/nonexistent"}
    runtime = detect(agent)
    is_js = runtime == AGENTS_JS
    interpreter = find_node(agent, environ) if is_js else find_interpreter(agent, runtime, environ, python)
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
        yield app, pilot
        await app.stop("picture taken", kill=False)
        await app.ended()


def _svg_of(shot: RenderableType) -> str:
    width, height = FILM_SIZE
    console = Console(
        width=width,
        height=height,
        file=io.StringIO(),
        force_terminal=True,
        color_system="truecolor",
        record=True,
        legacy_windows=False,
        safe_box=False,
    )
    console.print(shot)
    return console.export_svg(title="")


def png_of(svg: str) -> bytes:
    return bytes(
        resvg_py.svg_to_bytes(
            svg_string=svg, monospace_family="DejaVu Sans Mono", font_family="DejaVu Sans Mono"
        )
    )


def _is_asked_for(name: str) -> bool:
    return not sys.argv[1:] or name in sys.argv[1:]


def _environment(agent: Path, environ: dict[str, str]) -> Environment:
    return read_environment_and_config(agent, agent.parent, environ)


if __name__ == "__main__":
    asyncio.run(main())
