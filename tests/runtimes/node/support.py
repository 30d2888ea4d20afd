"""Children of an agents-js file written for the test."""

import asyncio
import textwrap
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent_tui.model.child import Child, Failed, Manifest, ProcessKind
from agent_tui.model.clock import SystemClock
from agent_tui.model.events import Event, StartMethod
from agent_tui.runtimes.node.blanks import Blanks
from agent_tui.runtimes.node.child import NodeChild
from agent_tui.runtimes.node.find import find_node
from agent_tui.runtimes.node.runtime import NodeRuntime
from agent_tui.runtimes.python import ChildSettings, Modules

from ...nodes import CACHE, newest_node, project
from ..support import Sink, clean_environ, nothing_left, until

AGENT = "import { defineAgent } from '@livekit/agents';\n"


@dataclass
class Host:
    """Starts children of one file, as the engine does."""

    file: Path
    sink: Sink
    blanks: Blanks
    children: list[Child]
    events: list[Event]

    def runtime(
        self,
        modules: Mapping[str, str] | None = None,
        environ: Mapping[str, str] | None = None,
        missing: Iterable[str] = (),
        **settings: Any,
    ) -> NodeRuntime:
        contents = {path: text.encode() for path, text in (modules or {}).items()}
        return NodeRuntime(
            self.blanks,
            self.file,
            {**clean_environ(), **CACHE, **(environ or {})},
            self.sink,
            SystemClock(),
            settings=ChildSettings(**settings),
            modules=Modules(contents, frozenset(missing)),
        )

    async def launch(
        self,
        kind: ProcessKind = ProcessKind.JOB,
        run: NodeRuntime | None = None,
        functions: str = "",
        **settings: Any,
    ) -> NodeChild:
        child = await (run or self.runtime(**settings)).launch(kind, "p1", functions)
        self.children.append(child)
        return child

    async def manifest(self, run: NodeRuntime | None = None, **settings: Any) -> Manifest:
        child = await self.launch(ProcessKind.CONTROL, run, **settings)
        said = await until(child, Manifest, Failed)
        assert isinstance(said, Manifest), said
        return said


def write(folder: Path, files: Mapping[str, str]) -> None:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))


@asynccontextmanager
async def host_of(
    folder: Path,
    name: str,
    files: Mapping[str, str],
    *,
    kind: str = "module",
    sdk: Path | None = None,
    without: str = "none",
    stand_in: bool = False,
    node: Path | None = None,
) -> AsyncIterator[Host]:
    """Yield a project with those files; everything started is ended and leaves nothing behind."""
    if not (folder / "node_modules").exists():
        project(folder, kind=kind, sdk=sdk, without=without, stand_in=stand_in)
    write(folder, files)
    file = folder / name
    found = await asyncio.to_thread(find_node, file, clean_environ(), str(node or newest_node()))
    events: list[Event] = []
    async with nothing_left() as children:
        sink = Sink()
        blanks = Blanks(found, file, folder, sink, SystemClock(), events.append, method=StartMethod.SPAWN)
        try:
            yield Host(file, sink, blanks, children, events)
        finally:
            for child in children:
                child.kill()
                await child.wait()
            await blanks.close("the test is done")
