"""The app without its dashboard, so that only pages are laid out and painted.

A page that covers the dashboard still has Textual lay out and paint it below, which takes most of the time of
a test that is about the page.
"""

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

from textual.app import ComposeResult
from textual.pilot import Pilot
from textual.widget import Widget

from agent_tui.tui.app import AgentTuiApp
from agent_tui.tui.screens.page import Follower
from tests.fakes.engine import FakeEngine
from tests.fakes.scripted_child import until
from tests.limits import PATIENCE_S

P = TypeVar("P", bound=Widget)


class PageHost(AgentTuiApp):
    """The app with hidden panels; keys open pages, and pages follow the state."""

    CSS_PATH = Path(inspect.getfile(AgentTuiApp)).with_name("app.tcss").as_posix()

    def compose(self) -> ComposeResult:
        yield from ()

    def show(self) -> None:
        for screen in self.screen_stack[1:]:
            if isinstance(screen, Follower):
                screen.show(self.state, self.now())

    def panel(self, kind: type[P]) -> P:
        panel = self._panels.setdefault(kind, kind())
        assert isinstance(panel, kind)
        return panel


def app_over(engine: FakeEngine, kind: type[AgentTuiApp] = PageHost, **more: Any) -> AgentTuiApp:
    """Return an app over that engine, with its time."""

    async def make() -> FakeEngine:
        return engine

    return kind(make, now=engine.clock.time, **more)


async def painted(app: AgentTuiApp, engine: FakeEngine, pilot: Pilot[Any]) -> None:
    """Wait until all published events are painted."""
    news = asyncio.Event()
    app.painted.subscribe(app, lambda _: news.set(), immediate=True)
    async with asyncio.timeout(PATIENCE_S):
        while app.state is not engine.bus.state:
            news.clear()
            await news.wait()
    app.painted.unsubscribe(app)
    await pilot.pause()


@asynccontextmanager
async def page_host(
    engine: FakeEngine,
    *keys: str,
    kind: type[AgentTuiApp] = PageHost,
    size: tuple[int, int] = (120, 40),
    ready: Callable[[], object] = lambda: True,
    **more: Any,
) -> AsyncIterator[tuple[AgentTuiApp, Pilot[int]]]:
    """Yield an app that has painted all published events, after pressing these keys."""
    app = app_over(engine, kind, **more)
    async with app.run_test(size=size) as pilot:
        await painted(app, engine, pilot)
        if keys:
            await pilot.press(*keys)
            await until(lambda: ready() and len(app.screen_stack) > 1)
            await pilot.pause()
        yield app, pilot
    engine.bus.close()  # even if it refuses to stop
    await app.ended()
