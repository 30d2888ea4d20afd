"""An agent file, a recording server, and `agent-tui` with one option set by one source."""

import json
import signal
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

from agent_tui.cli.flags import BOOLEAN
from agent_tui.options.declare import BY_NAME
from tests.cli.support import Run, agent_tui
from tests.options.outside.recorder import Recorder, recording

if TYPE_CHECKING:
    from tests.options.outside.cases import Case

DRIVEN = Path(__file__).with_name("driven.py")
PORT = "PORT"
"""Stands for a free one."""
KEYS = {"apiKey": "a-key", "apiSecret": "a-secret-that-is-long-enough-for-it-too"}

COMMON = """
import asyncio, logging, os, sys, time

log = logging.getLogger("the-agent")
print("loaded by", sys.argv[1])

async def picky(req):
    await (req.reject() if req.id == "AJ_1" else req.accept())

def prewarm(proc):
    time.sleep(float(os.environ.get("PREWARM_S", "0")))

async def entry(ctx):
    log.info("an info line")
    log.error("an error line")

    async def slow():
        await asyncio.sleep(60)

    if "SLOW_END" in os.environ:
        ctx.add_shutdown_callback(slow)
    length = {"short": 0.05, "second": 1.0}
    await asyncio.sleep(next((length[name] for name in length if os.path.exists(name)), STAYS))
"""

NATIVE = (
    COMMON
    + """
STAYS = 60  # a job ends when its entry function returns

def busy(worker):
    return 0.9
"""
)

SDK = (
    COMMON
    + """
STAYS = 0
from livekit.agents import AgentServer, WorkerPermissions, WorkerType, cli

def busy(server):
    return 0.9

async def session_end(ctx):
    await asyncio.sleep(60 if "SLOW_SESSION_END" in os.environ else 0)

server = AgentServer(setup_fnc=prewarm, {arguments})
server.rtc_session(entry, on_session_end=session_end, {session})

if __name__ == "__main__":
    cli.run_app(server)
"""
)


def python_text(*cases: "Case") -> str:
    """Return a livekit-agents file that passes the options of these cases, with `{url}` and `{port}`."""
    arguments = ", ".join(case.code for case in cases if not case.session)
    session = ", ".join(case.code for case in cases if case.session)
    return SDK.replace("{arguments}", arguments).replace("{session}", session)


@dataclass
class Rig:
    """One run under test."""

    run: Run
    recorder: Recorder
    port: int
    file: Path
    answered: int = 0

    async def command(self, **command: Any) -> str:
        """Send a command to a driven run. Return its result, as one line."""
        await self.tell(**command)
        while True:
            found = [e["text"] for e in self.run.all("log") if e["text"].startswith("command ")]
            if len(found) > self.answered:
                self.answered += 1
                return str(found[self.answered - 1])
            await self.run.more()

    async def tell(self, **command: Any) -> None:
        """Send a command without waiting for its result."""
        assert self.run.process.stdin is not None
        self.run.process.stdin.write(json.dumps(command).encode() + b"\n")
        await self.run.process.stdin.drain()

    def save(self) -> None:
        """Change the agent's file."""
        self.file.write_text(f"{self.file.read_text()}\n# saved\n")

    def terminate(self) -> None:
        self.run.process.send_signal(signal.SIGTERM)


def free_port() -> int:
    with socket.socket() as opened:
        opened.bind(("127.0.0.1", 0))
        return int(opened.getsockname()[1])


@asynccontextmanager
async def rigged(case: "Case", source: str, folder: Path, sdk_python: Path | None) -> AsyncIterator[Rig]:
    """Run with the case's value set by a source: a variable's name, `.env`, `config`, `flag`, or `edited`."""
    async with recording() as recorder:
        port = free_port()
        value = {"wsURL": recorder.url, "port": str(port)}.get(case.option, case.value)
        given = give(case.option, value, source, folder)
        flags = [*case.flags, *given.words, *(case.before if source == "edited" else ())]
        usual = {"wsURL": recorder.url, **KEYS}
        own = set() if source == "edited" else {case.option}
        name = "other" if case.option == "agent" else "agent"
        if case.option == "maxRetry":
            own.add("wsURL")
        flags += [f"{BY_NAME[name].flag}={each}" for name, each in usual.items() if name not in own]
        if case.sdk:
            assert sdk_python is not None
            text = python_text()
            flags.append(f"--python={sdk_python}")
        else:
            text = NATIVE
        (folder / f"{name}.py").write_text(text)
        program: tuple[object, ...] = (DRIVEN,) if source == "edited" else ("-m", "agent_tui")
        environ = {**case.environ, **given.environ}
        async with agent_tui("--json", *flags, cwd=folder, environ=environ, program=program) as run:
            yield Rig(run, recorder, port, folder / f"{name}.py")


class SourcedValue(NamedTuple):
    """How the command gets an option's value."""

    words: tuple[str, ...] = ()
    environ: Mapping[str, str] = MappingProxyType({})


def give(name: str, value: str, source: str, folder: Path) -> SourcedValue:
    """Put an option's value into that source, outside the agent's code: a file is written to the folder."""
    option = BY_NAME[name]
    match source:
        case "flag" if option.positional:
            return SourcedValue((value,))
        case "flag":
            return SourcedValue((option.flag if option.kind.words == BOOLEAN else f"{option.flag}={value}",))
        case "config":
            _add(folder / "agent-tui.toml", f"{name} = {json.dumps(value)}\n")
        case ".env":
            _add(folder / ".env", f'{option.environment[-1]}="{value}"\n')
        case "edited":
            pass
        case variable:
            return SourcedValue(environ={variable: value})
    return SourcedValue()


def _add(path: Path, line: str) -> None:
    before = path.read_text() if path.exists() else "# line 1\n"
    path.write_text(before + line)
