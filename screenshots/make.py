"""Paint the pictures of this folder from its recordings.

Each run gives identical SVG: the clock and the events come from the recording.

python screenshots/make.py               # all, as SVG and PNG; needs a monospace font
python screenshots/make.py dashboard     # only the picture of that name
python screenshots/make.py saves         # the animated one
"""

import asyncio
import io
import os
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple
from unittest.mock import patch

import resvg_py
from animation import Frame, animated, still, without_repeats
from record import PROJECTS
from recording import Playback, read_recording
from rich.console import Console, RenderableType
from textual.pilot import Pilot
from textual.widgets import Input

from agent_tui.tui.app import AgentTuiApp

HERE = Path(__file__).parent
HOME = "/home/ann"
FILM = "saves"
FILM_SIZE = (112, 30)
FRAME_S = 0.15
HOLD_S = 3.0
LIMIT_S = 60.0
FILM_STILLS = 10


class Picture(NamedTuple):
    """The screen at the end of a recording, after these keys."""

    name: str
    recording: str
    keys: tuple[str, ...] = ()
    size: tuple[int, int] = (120, 40)
    theme: str = "dark"


PICTURES = (
    Picture("dashboard", "calls"),
    Picture("dashboard-80x24", "calls", size=(80, 24)),
    Picture("dashboard-200x60", "calls", size=(200, 60)),
    Picture("dashboard-light", "calls", theme="light"),
    Picture("agents-js", "agents-js"),
    Picture("broken", "broken"),
    Picture("help", "calls", ("question_mark",)),
    Picture("job", "crash", ("j", "enter")),
    Picture("generations", "edit", ("g",)),
    Picture("tuning", "sweep", ("T",)),
    Picture("options", "calls", ("E",)),
)


async def main(names: list[str]) -> None:
    for picture in PICTURES:
        if not names or picture.name in names:
            svg = await painted(picture)
            (HERE / f"{picture.name}.svg").write_text(svg, encoding="utf-8")
            (HERE / f"{picture.name}.png").write_bytes(png_of(svg))
            print(picture.name)
    if not names or FILM in names:
        frames = await film()
        (HERE / f"{FILM}.svg").write_text(animated(frames, HOLD_S), encoding="utf-8")
        work = Path(os.environ.get("TMPDIR", "/tmp")) / "agent-tui-pictures"
        work.mkdir(exist_ok=True)
        for number in range(FILM_STILLS):
            frame = frames[number * (len(frames) - 1) // (FILM_STILLS - 1)]
            (work / f"{FILM}-{number}.png").write_bytes(png_of(still(frame)))
        print(f"{FILM}: {len(frames)} frames, some of them as PNG in {work}")


async def painted(picture: Picture) -> str:
    """Return the picture as SVG."""
    playback = Playback(read_recording(HERE / f"recordings/{picture.recording}.jsonl"))
    async with playing(playback, picture.recording, picture.size, picture.theme) as (app, pilot):
        await step(app, pilot, playback, playback.end)
        for key in picture.keys:
            await pilot.press(key)
            await step(app, pilot, playback, playback.end)
        return app.export_screenshot(title="agent-tui")


async def film() -> list[Frame]:
    """Return the film's frames, without frames that are equal to the one before."""
    playback = Playback(read_recording(HERE / f"recordings/{FILM}.jsonl"))
    shots: list[tuple[float, RenderableType, str]] = []
    async with playing(playback, FILM, FILM_SIZE, "dark") as (app, pilot):
        app.set_focus(None)
        at = playback.first_caption
        while at < playback.end + FRAME_S:
            await step(app, pilot, playback, at)
            # The first step of `export_screenshot`; what it adds is not needed.
            shot = app.screen._compositor.render_update(full=True, simplify=True)
            assert shot is not None
            shots.append((at, shot, playback.caption))
            at += FRAME_S
    return without_repeats([Frame(at, _svg_of(shot), caption) for at, shot, caption in shots])


@asynccontextmanager
async def playing(
    playback: Playback, recording: str, size: tuple[int, int], theme: str
) -> AsyncIterator[tuple[AgentTuiApp, Pilot[int]]]:
    """Run the app over the recording, without a terminal."""
    os.environ |= {"HOME": HOME, "TZ": "UTC", "COLORTERM": "truecolor", "TERM": "xterm-256color"}
    time.tzset()

    async def make() -> Playback:
        return playback

    _, agent, _ = PROJECTS[recording]

    def project_file(path: str, limit: int) -> bytes:
        return agent.encode() if isinstance(agent, str) else agent.read_bytes()

    app = AgentTuiApp(make, now=lambda: playback.now)
    app.animation_level = "none"
    # The project of the recordings is not on this machine.
    with patch("agent_tui.tui.widgets.source.read_file", project_file):
        async with app.run_test(size=size) as pilot:
            app.theme = theme
            yield app, pilot
            await app.stop("picture taken", kill=False)
            await app.ended()


async def step(app: AgentTuiApp, pilot: Pilot[int], playback: Playback, until: float) -> None:
    """Play up to that time and wait until it is painted."""
    news = asyncio.Event()
    playback.play(until)
    app.painted.subscribe(app, lambda _: news.set(), immediate=True)
    async with asyncio.timeout(LIMIT_S):
        while app.state is not playback.state:
            news.clear()
            await news.wait()
    app.painted.unsubscribe(app)
    for field in app.screen.query(Input):
        field.cursor_blink = False  # it would be invisible half of the time
    for _ in range(2):  # texts that depend on the size of what was shown before
        app.show()
        await pilot.pause()
        if reading := [each for each in app.workers if each.group.startswith("log")]:
            await app.workers.wait_for_complete(reading)
    await pilot.pause()


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


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
