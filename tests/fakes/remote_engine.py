"""An engine that behaves as in another process: it encodes and decodes all data, and answers after 50 ms."""

import asyncio
import contextlib
from typing import Any, cast

from agent_tui.engine.bus import LIMIT, Subscription
from agent_tui.model import commands as cmd
from agent_tui.model.codec import DATA, Data
from agent_tui.model.events import Event, Stamped
from agent_tui.model.reduce import reduce
from agent_tui.model.requests import A, Asks
from agent_tui.model.state import AppState
from tests.fakes.engine import FakeEngine


class RemoteEngine:
    """Implements `EngineAPI` over a fake engine: it gets a state and events, and reduces them."""

    def __init__(self, engine: FakeEngine, delay_s: float = 0.05) -> None:
        self._engine = engine
        self._delay_s = delay_s
        self.state = AppState()

    @property
    def up(self) -> bool:
        return self._engine.up

    def subscribe(self, limit: int = LIMIT) -> Subscription:
        raise AssertionError("the screen draws itself from the state and reads no events")

    async def closed(self) -> None:
        await self._following

    async def send(self, command: cmd.Command) -> cmd.CommandResult:
        result = await self._engine.send(cast("cmd.Command", self._crossed(command)))
        return cast("cmd.CommandResult", await self._answer(result))

    async def request(self, request: Asks[A]) -> A:
        asked: Any = self._crossed(cast("Data", request))
        return cast("A", await self._answer(cast("Data", await self._engine.request(asked))))

    async def __aenter__(self) -> "RemoteEngine":
        await self._engine.__aenter__()
        self._following = asyncio.create_task(self._follow())
        return self

    async def __aexit__(self, *error: Any) -> None:
        await self._engine.__aexit__(*error)
        with contextlib.suppress(asyncio.CancelledError):
            await self._following

    async def _follow(self) -> None:
        stream = self._engine.subscribe()
        self.state = cast("AppState", await self._answer(stream.state))
        async for batch in stream.batches():
            encoded = [(each.seq, each.ts, DATA.encode(each.event)) for each in batch]
            await asyncio.sleep(self._delay_s)
            for seq, ts, data in encoded:
                event = cast("Event", DATA.decode(data))
                self.state = reduce(self.state, Stamped(seq, ts, event))

    def _crossed(self, message: Data) -> Data:
        return DATA.decode(DATA.encode(message))

    async def _answer(self, message: Data) -> Data:
        data = DATA.encode(message)
        await asyncio.sleep(self._delay_s)
        return DATA.decode(data)
