"""Where the worker's HTTP server listens, and when it starts to answer."""

import asyncio
import importlib
import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from agent_tui.model import events as ev
from agent_tui.model.errors import PortBusyError, UserError
from agent_tui.model.logs import LogLevel
from agent_tui.options.declare import ServerOptions
from agent_tui.runtimes.threads import off_loop
from agent_tui.system.listening import busy, listen

if TYPE_CHECKING:
    from agent_tui.engine.info_server import InfoServer

PROTOCOL_VERSION = 1


@dataclass(frozen=True, slots=True)
class WorkerInfo:
    """The answer to `/worker`, with the SDKs' field names. `worker_type` is a name such as `JT_ROOM`."""

    agent_name: str
    worker_type: str
    active_jobs: int
    sdk_version: str
    worker_load: float
    agent_name_is_env: bool
    deployment: str
    project_type: str
    protocol_version: int = PROTOCOL_VERSION


class _Listener:
    """Listening sockets, and the server that answers on them, which the first request starts."""

    def __init__(self, sockets: list[socket.socket], serving: "asyncio.Task[InfoServer]") -> None:
        self.port: int = sockets[0].getsockname()[1]
        self._sockets = sockets
        self._serving = serving

    async def close(self) -> None:
        """Stop listening. Calling it more than once is safe."""
        self._serving.cancel()
        await asyncio.wait({self._serving})
        try:
            if not self._serving.cancelled() and self._serving.exception() is None:
                await self._serving.result().close()
        finally:
            for each in self._sockets:
                each.close()


class Endpoint:
    """Listens on host and port of the latest options."""

    def __init__(
        self,
        *,
        health: Callable[[], str | None],
        info: Callable[[], WorkerInfo],
        metrics: Callable[[], bytes],
        emit: Callable[[ev.Event], None],
    ) -> None:
        self._health = health
        self._info = info
        self._metrics = metrics
        self._emit = emit
        self._listener: _Listener | None = None
        self._wanted: tuple[str, int] | None = None
        self._one = asyncio.Lock()

    async def listen(self, options: ServerOptions) -> None:
        """Listen on these options' address. If that fails, raise UserError and keep the current address.

        Concurrent calls, such as from an edit and a load, run one at a time; the last one wins.
        """
        async with self._one:
            await self._listen(options)

    async def _listen(self, options: ServerOptions) -> None:
        wanted = (options.host, options.port)
        if wanted == self._wanted:
            return
        old = self._listener
        # The old one may hold the same port on another address.
        first = old is not None and old.port == options.port
        if old is not None and first:
            await old.close()
        try:
            new = await self._bind(*wanted)
        except UserError:
            if old is not None and first and self._wanted is not None:
                self._listener = await self._bind(self._wanted[0], old.port)
            raise
        self._listener, self._wanted = new, wanted
        if old is not None and not first:
            await old.close()
        self.announce()

    async def _bind(self, host: str, port: int) -> _Listener:
        try:
            sockets = await listen(host, port)
        except PortBusyError as taken:
            who_listens = importlib.import_module("agent_tui.engine.info_server").who_listens
            raise PortBusyError(busy(host, port, await who_listens(port))) from taken
        return _Listener(sockets, asyncio.create_task(self._serve(host, port, sockets), name="http"))

    async def _serve(self, host: str, port: int, sockets: list[socket.socket]) -> "InfoServer":
        """Wait for the first client, and import aiohttp only then: the import takes a quarter of the startup.

        The client waits in the backlog of the socket.
        """
        await _readable(sockets)
        try:
            module = await off_loop(importlib.import_module, "agent_tui.engine.info_server")
            server: InfoServer = module.InfoServer(
                host=host, port=port, health=self._health, info=self._info, metrics=self._metrics
            )
            await server.serve(sockets)
        except Exception as error:
            for each in sockets:
                each.close()  # refuse clients rather than let them wait
            text = f"the HTTP endpoint failed to start: {error}"
            self._emit(ev.Notice(LogLevel.ERROR, text, "HTTP endpoint", "restart agent-tui"))
            raise
        return server

    def announce(self) -> None:
        """Report the address that it listens on."""
        if self._listener is not None and self._wanted is not None:
            host = f"[{self._wanted[0]}]" if ":" in self._wanted[0] else self._wanted[0]
            self._emit(ev.HttpListening(f"http://{host}:{self._listener.port}"))

    async def close(self) -> None:
        """Stop listening. Calling it more than once is safe."""
        if self._listener is not None:
            await self._listener.close()


async def _readable(sockets: list[socket.socket]) -> None:
    """Wait until a client connects to one of these sockets."""
    loop = asyncio.get_running_loop()
    connected = asyncio.Event()
    for each in sockets:
        loop.add_reader(each, connected.set)
    try:
        await connected.wait()
    finally:
        for each in sockets:
            loop.remove_reader(each)
