"""The health endpoint of a run: where the options say, also when they change."""

import asyncio
from collections.abc import Callable

from agent_tui.model import events as ev
from agent_tui.model.errors import UserError
from agent_tui.options.declare import ServerOptions
from agent_tui.worker.http import InfoServer, WorkerInfo


class Endpoint:
    """Listens at host and port of the options it was last given."""

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
        self._server: InfoServer | None = None
        self._wanted: tuple[str, int] | None = None
        self._one = asyncio.Lock()

    async def listen(self, options: ServerOptions) -> None:
        """Listens there, if it does not yet. Raises UserError, and listens where it did.

        Of calls that come together the last one has the last word: an edit, and a file that is loaded.
        """
        async with self._one:
            await self._listen(options)

    async def _listen(self, options: ServerOptions) -> None:
        wanted = (options.host, options.port)
        if wanted == self._wanted:
            return
        old = self._server
        server = InfoServer(
            host=options.host, port=options.port, health=self._health, info=self._info, metrics=self._metrics
        )
        # Another address with the same port may be in our own way.
        first = old is not None and old.port == options.port
        if old is not None and first:
            await old.close()
        try:
            await server.start()
        except UserError:
            if old is not None and first:
                await old.start()
            raise
        self._server, self._wanted = server, wanted
        if old is not None and not first:
            await old.close()
        self.tell()

    def tell(self) -> None:
        """Says where it listens."""
        if self._server is not None and self._wanted is not None:
            host = f"[{self._wanted[0]}]" if ":" in self._wanted[0] else self._wanted[0]
            self._emit(ev.HttpListening(f"http://{host}:{self._server.port}"))

    async def close(self) -> None:
        """Stops listening. Can be called again."""
        if self._server is not None:
            await self._server.close()
