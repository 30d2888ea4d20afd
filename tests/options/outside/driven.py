"""`agent-tui` that reads commands from stdin, one JSON object per line, as its screen would send them."""

import asyncio
import json
import sys
from collections.abc import Callable
from typing import Any, Self

from agent_tui.cli.main import main
from agent_tui.engine import engine
from agent_tui.model import commands as cmd
from agent_tui.model import events as ev
from agent_tui.model.logs import LogLevel

COMMANDS: dict[str, Callable[[Any], cmd.Command]] = {
    "set": lambda values: cmd.SetOptions(values),
    "stop": lambda drain: cmd.Stop("told to", drain=drain),
    "undo": lambda _: cmd.UndoOptions(),
    "roll_back": lambda number: cmd.RollBack(number),
    "diff": lambda numbers: cmd.DiffGeneration(*numbers),
    "reload": lambda _: cmd.Reload(),
    "dispatch": lambda room: cmd.Dispatch(room=room),
    "say": lambda turn: cmd.Say(*turn),
    "interrupt": lambda job: cmd.Interrupt(job),
    "end": lambda job: cmd.EndJob(job),
    "restart": lambda job: cmd.RestartJob(job),
    "save": lambda clear: cmd.SaveOptions(clear_secrets=clear),
}


class Driven(engine.Engine):
    async def __aenter__(self) -> Self:
        await super().__aenter__()
        self._following = asyncio.create_task(self._follow())
        return self

    async def __aexit__(self, *error: Any) -> None:
        self._following.cancel()
        await super().__aexit__(*error)

    async def _follow(self) -> None:
        reader = asyncio.StreamReader(limit=2**22)
        await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
        )
        while line := await reader.readline():
            ((name, value),) = json.loads(line).items()
            result = await self.send(COMMANDS[name](value))
            text = f"command {'done' if result.ok else 'refused'}: {result.text}"
            self._bus.publish(ev.Notice(LogLevel.FATAL, text))


engine.Engine = Driven  # type: ignore[misc]
main()
