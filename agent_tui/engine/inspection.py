"""Loads an agent's file once, only to read its manifest."""

import asyncio
import os
from collections.abc import Mapping
from pathlib import Path

from agent_tui.files import shown_path
from agent_tui.logs.intake import LogIntake
from agent_tui.logs.store import LogStore
from agent_tui.model import child as ch
from agent_tui.model.clock import SystemClock
from agent_tui.model.errors import UserError
from agent_tui.model.events import Event, StartMethod
from agent_tui.runtimes.interpreter import Interpreter
from agent_tui.runtimes.node.blanks import Blanks
from agent_tui.runtimes.node.find import NodeInterpreter
from agent_tui.runtimes.node.runtime import NodeRuntime
from agent_tui.runtimes.python import ChildSettings, PythonRuntime
from agent_tui.runtimes.spawn import HeadStart

LIMIT_S = 60.0


async def manifest_of(
    runtime: str,
    interpreter: Interpreter,
    file: Path,
    cwd: Path,
    environ: Mapping[str, str],
    *,
    production: bool = False,
    head_start: HeadStart | None = None,
    limit_s: float = LIMIT_S,
) -> ch.Manifest:
    """Load the file in a separate process and return its manifest. Raise UserError if it does not load."""
    shown = shown_path(file, os.environ, cwd)
    clock = SystemClock()
    intake = LogIntake(LogStore(clock), clock)
    settings = ChildSettings(production=production)
    run: PythonRuntime | NodeRuntime
    if isinstance(interpreter, NodeInterpreter):
        first = head_start.claim() if head_start else None
        blanks = Blanks(
            interpreter,
            file,
            cwd,
            intake,
            clock,
            _nothing,
            method=StartMethod.SPAWN,
            first=first,
            first_environ=environ,
        )
        run = NodeRuntime(blanks, file, environ, intake, clock, settings=settings)
    else:
        run = PythonRuntime(
            runtime,
            interpreter.path,
            file,
            cwd,
            environ,
            intake,
            clock,
            settings=settings,
            head_start=head_start,
        )
    try:
        child: ch.Child = await run.launch(ch.ProcessKind.CONTROL, "inspection")
        try:
            async with asyncio.timeout(limit_s):
                while True:
                    message = await child.receive()
                    if isinstance(message, ch.Manifest):
                        return message
                    if isinstance(message, ch.Failed):
                        raise UserError(f"{_place(message, file, cwd)} does not load: {message.error}")
                    if message is None:
                        raise UserError(f"{shown} does not load: its process exited while loading")
        except TimeoutError:
            raise UserError(f"{shown} does not load: loading took longer than {limit_s:g} s") from None
        finally:
            child.kill()
            await child.wait()
    except OSError as error:
        raise UserError(f"{shown} cannot be loaded: {error}") from None
    finally:
        run.close()
        await asyncio.to_thread(intake.close)


def _nothing(event: Event) -> None:
    """Ignore the event."""


def _place(failed: ch.Failed, file: Path, cwd: Path) -> str:
    shown = shown_path(Path(failed.file or file), os.environ, cwd)
    return f"{shown}:{failed.line}" if failed.file and failed.line else shown
