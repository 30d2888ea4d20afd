"""Runs the command as users do: in its own process, with hardly any environment."""

import asyncio
import json
import os
import signal
import sys
import uuid
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.limits import PATIENCE_S

ROOT = Path(__file__).resolve().parents[2]
EXAMPLES = ROOT / "examples"
AGENTS = ROOT / "tests/agents"
ENVIRON = {
    "HOME": "/nonexistent",
    "PATH": "/usr/bin:/bin",
    "SSL_CERT_FILE": str(ROOT / "tests/cli/root.pem"),
}
"""What commands get. Nothing here uses TLS, and parsing all root certificates costs each process 0.1 s."""

Event = dict[str, Any]


@dataclass
class Run:
    """A running `agent-tui … --json`, with its events so far."""

    process: asyncio.subprocess.Process
    mark: str
    events: list[Event] = field(default_factory=list)
    stderr: str = ""

    async def until(self, name: str, count: int = 1, **fields: object) -> Event:
        """Wait for the `count`-th event with that name and those fields. Fails if the command ends first."""

        def matches(event: Event) -> bool:
            return event["event"] == name and fields.items() <= event.items()

        wanted = f"{name} {fields} (number {count})"
        try:
            async with asyncio.timeout(PATIENCE_S):
                while len(found := [event for event in self.events if matches(event)]) < count:
                    if not await self._read():
                        raise AssertionError(f"ended without {wanted}: {self.events} {self.stderr}")
        except TimeoutError:
            raise AssertionError(f"no {wanted} in {PATIENCE_S} s: {self.events[-20:]}") from None
        return found[count - 1]

    async def more(self) -> None:
        """Wait for another event. Fails if the command has ended."""
        async with asyncio.timeout(PATIENCE_S):
            if not await self._read():
                raise AssertionError(f"ended: {self.events} {self.stderr}")

    async def end(self) -> int:
        """Read all output, and return the exit code."""
        assert self.process.stderr is not None
        async with asyncio.timeout(PATIENCE_S):
            while await self._read():
                pass
            self.stderr += (await self.process.stderr.read()).decode()
            return await self.process.wait()

    async def _read(self) -> bool:
        assert self.process.stdout is not None
        line = await self.process.stdout.readline()
        if line:
            self.events.append(json.loads(line))
        return bool(line)

    def all(self, name: str) -> list[Event]:
        return [event for event in self.events if event["event"] == name]

    @property
    def names(self) -> list[str]:
        return [event["event"] for event in self.events]


@asynccontextmanager
async def agent_tui(
    *arguments: object,
    cwd: Path | None = None,
    environ: Mapping[str, str] | None = None,
    program: Sequence[object] = ("-m", "agent_tui"),
) -> AsyncIterator[Run]:
    """Start the command. At the end, check that no process of it is left."""
    mark = f"agent-tui-test-{uuid.uuid4()}"
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *map(str, (*program, *arguments)),
        cwd=cwd or ROOT,
        env={**ENVIRON, "TEST_MARK": mark, **(environ or {})},
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        limit=2**24,
    )
    run = Run(process, mark)
    try:
        yield run
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
            await run.end()
        left = marked(mark)
        assert left == [], f"left behind: {left}"


async def finished(*arguments: object, **options: Any) -> tuple[int, Run]:
    """Run the command, and wait for its end."""
    async with agent_tui(*arguments, **options) as run:
        return await run.end(), run


def save(path: Path, text: str) -> None:
    """Write a file by renaming, as some editors do: a load never finds half of the text.

    A test that names the number of a load needs this: a load of half a save is overtaken, and counts.
    """
    fresh = path.with_name(f".{path.name}.swp")
    fresh.write_text(text)
    fresh.replace(path)


async def left_at_most(count: int, mark: str, limit_s: float = PATIENCE_S) -> None:
    """Wait until at most that many processes with that mark are left."""
    async with asyncio.timeout(limit_s):
        while len(marked(mark)) > count:  # noqa: ASYNC110
            await asyncio.sleep(0.1)  # reading the environment of every process takes milliseconds


def marked(mark: str) -> list[int]:
    """Return the pids of running processes that have that mark in their environment."""
    pids = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit() and int(folder.name) != os.getpid():
            try:
                dead = (folder / "stat").read_text().rpartition(")")[2].split()[0] == "Z"
                if not dead and mark.encode() in (folder / "environ").read_bytes():
                    pids.append(int(folder.name))
            except OSError:
                continue
    return pids
