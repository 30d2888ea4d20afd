"""An engine without processes and servers. Tests publish its events, and check the commands that it got."""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, cast

from msgspec.structs import replace

from agent_tui.engine.bus import LIMIT, Bus, Subscription
from agent_tui.engine.engine import Handler
from agent_tui.engine.servers import join_link
from agent_tui.logs.store import LogStore
from agent_tui.model import commands as cmd
from agent_tui.model import events as ev
from agent_tui.model.errors import UserError
from agent_tui.model.logs import LogLevel, LogSource, LogStream
from agent_tui.model.requests import A, Asks, JoinRoom, LogRange, ReadLogs, ReadSecrets
from agent_tui.model.settings import SettingsView
from agent_tui.model.state import AppState
from agent_tui.options.declare import DefaultsContext
from agent_tui.options.envfiles import Environment
from agent_tui.options.resolve import Resolution, SourcedValue
from agent_tui.settings.settings import Settings
from agent_tui.worker.urls import ServerAddress
from tests.fakes.clock import FakeClock


class FakeEngine:
    """Implements `EngineAPI`. Tests call `publish()` for each event; `commands` are those it received."""

    def __init__(self, **options: str) -> None:
        self.clock = FakeClock()
        self.bus = Bus(self.clock)
        self.store = LogStore(self.clock)
        self.commands: list[cmd.Command] = []
        self.results: list[cmd.CommandResult] = []
        """The results of the next commands, in order. Commands after the last result succeed."""
        self.answers: dict[type[cmd.Command], str] = {}
        """The texts with which commands succeed; of others, it is `done`."""
        self.refuse = ""
        """Why the next commands are not carried out."""
        self.rooms_without_agent = set[str]()
        self.up = True
        self.obedient = True
        """Whether the engine ends on a `Stop` command."""
        values = {"apiSecret": "a-secret-of-the-fake-engine", **options}
        flags = {name: SourcedValue(value, f"--{name}") for name, value in values.items()}
        self._handlers: dict[type[object], Handler] = {}
        self._close = list[Callable[[], Awaitable[object]]]()
        self._settings = Settings(Environment({}, (), ()), flags, DefaultsContext("livekit-agents"))
        self.bus.state = replace(self.bus.state, settings=self._view)

    @property
    def settings(self) -> Settings:
        return self._settings

    @settings.setter
    def settings(self, settings: Settings) -> None:
        self._settings = settings
        self.publish(ev.SettingsChanged(self._view))

    @property
    def _view(self) -> SettingsView:
        return replace(self._settings.view, function_names=("busy", "picky", "entry"))

    @property
    def resolution(self) -> Resolution:
        return self.settings.resolution

    @property
    def state(self) -> AppState:
        return self.bus.state

    async def closed(self) -> None:
        await self.bus.closed()

    def subscribe(self, limit: int = LIMIT) -> Subscription:
        return self.bus.subscribe(limit)

    async def request(self, request: Asks[A]) -> A:
        answer: Any
        match request:
            case ReadLogs(first, end):
                answer = LogRange(self.store.pull(first, end))
            case ReadSecrets():
                answer = self.settings.secrets
            case JoinRoom(room) if self.bus.state.server is not None:
                address = ServerAddress(self.bus.state.server.url, "devkey", "secret")
                needs = room in self.rooms_without_agent
                answer = join_link(self.bus.state.server, address, room, "", needs_dispatch=needs)
            case _:
                raise UserError("no server yet: agent-tui is starting")
        return cast("A", answer)

    def add_handlers(
        self, handlers: Mapping[type[object], Handler], close: Callable[[], Awaitable[object]]
    ) -> None:
        self._handlers |= handlers
        self._close.append(close)

    async def send(self, command: cmd.Command) -> cmd.CommandResult:
        self.commands.append(command)
        if self.refuse:
            return cmd.CommandResult(False, self.refuse)
        if handler := self._handlers.get(type(command)):
            try:
                return await handler(command)
            except UserError as error:
                return cmd.CommandResult(False, str(error))
        if isinstance(command, cmd.SetOptions):
            settings = self.settings
            change = settings.measured_with if command.measuring else settings.edited
            self.settings = change(command.values)
        if isinstance(command, cmd.UndoOptions):
            self.settings = self.settings.undone()
        if isinstance(command, cmd.Stop) and self.obedient:
            await self._end()
        if self.results:
            return self.results.pop(0)
        return cmd.CommandResult(True, self.answers.get(type(command), "done"))

    async def __aenter__(self) -> "FakeEngine":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._end()

    async def _end(self) -> None:
        for close in self._close:
            await close()
        self.bus.close()

    # -- what tests do ------------------------------------------------------------------------------

    def publish(self, *events: ev.Event) -> None:
        for event in events:
            self.bus.publish(event)

    def log(
        self,
        text: str,
        level: LogLevel = LogLevel.INFO,
        process: str = "p1",
        stream: LogStream = LogStream.STDOUT,
    ) -> None:
        """Store a line and announce it."""
        first = self.store.end
        self.store.add(LogSource(process, stream), level, text)
        self.publish(ev.LogsAdded(first, self.store.end, self.store.dropped))
