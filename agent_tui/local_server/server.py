"""The embedded local server: everything on one port, for workers that need no media."""

import asyncio
import secrets
from collections.abc import Mapping
from random import Random
from types import TracebackType
from typing import Any, Final, Self

from aiohttp import web
from livekit.protocol.models import ServerInfo

from agent_tui.local_server import api, auth, twirp
from agent_tui.local_server.auth import job_token
from agent_tui.local_server.connection import Timings, WorkerConnection
from agent_tui.local_server.dispatcher import Dispatcher, ReportUnassigned, Tasks
from agent_tui.local_server.pool import Pool
from agent_tui.local_server.rooms import Rooms
from agent_tui.local_server.session import JOB_ID, NODE_ID, WORKER_ID, WorkerSession, new_id
from agent_tui.model.clock import Clock, SystemClock
from agent_tui.model.errors import PortBusyError
from agent_tui.system.http import HttpServer
from agent_tui.system.listening import listen

_NO_MEDIA: Final = (
    "this is agent-tui's embedded server, which has no media: start livekit-server --dev to join rooms"
)
_SERVER_VERSION: Final = "1.13.5"
_PROTOCOL: Final = 17
_AGENT_PROTOCOL: Final = 1
_MAX_API_BODY: Final = 4 * 1024 * 1024
_MOST_WAITING: Final = 1024
_SHARE: Final = 1 / 2
"""The limits for idle connections are high, because hundreds of test dispatches may each open one at once."""


class LocalServer:
    """A LiveKit server's worker and API side on the loopback interface.

    `port` 0 picks a free one; without `keys`, a random key and secret are generated. `on_unassigned` is
    called with a livekit.Job and an `Unassigned` for each job that no worker accepted. Use it as an async
    context manager, or call `start` and `close`.
    """

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        keys: Mapping[str, str] | None = None,
        clock: Clock | None = None,
        timings: Timings | None = None,
        rng: Random | None = None,
        on_unassigned: ReportUnassigned | None = None,
    ) -> None:
        self._host = host
        self._port = port
        self._keys = dict(keys or {"API" + secrets.token_hex(6): secrets.token_urlsafe(32)})
        self._clock = clock or SystemClock()
        self._timings = timings or Timings()
        self._rng = rng or Random()
        self._tasks = Tasks()
        self._connections: set[WorkerConnection] = set()
        self._pool: Pool[WorkerConnection] = Pool()
        self._dispatcher = Dispatcher(
            self._pool,
            self._tasks,
            clock=self._clock,
            timings=self._timings,
            rng=self._rng,
            on_unassigned=on_unassigned,
        )
        self._rooms = Rooms(self._dispatcher)
        self._methods = api.methods(self._rooms)
        self._node_id = new_id(NODE_ID, self._rng)
        self._server: HttpServer | None = None

    @property
    def url(self) -> str:
        """`ws://host:port`, once started."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"ws://{host}:{self._port}"

    @property
    def port(self) -> int:
        """The port on which the server listens, once it is started."""
        return self._port

    @property
    def api_key(self) -> str:
        """The first key; workers and clients may use any of the given ones."""
        return next(iter(self._keys))

    @property
    def api_secret(self) -> str:
        return self._keys[self.api_key]

    @property
    def rooms(self) -> Mapping[str, Any]:
        """Open rooms by name; a `Room` has `join`, `publish`, and `leave` for simulated participants."""
        return self._rooms

    @property
    def workers(self) -> tuple[WorkerSession, ...]:
        """The registered workers."""
        return tuple(connection.session for connection in self._pool)

    async def start(self) -> None:
        """Start listening. Raise `PortBusyError` if the address is in use, `UserError` if it is unusable."""
        app = web.Application(client_max_size=_MAX_API_BODY)
        app.router.add_route("*", "/{path:.*}", self._route)
        try:
            sockets = await listen(self._host, self._port)
        except PortBusyError:
            where = f"{self._host}:{self._port}"
            raise PortBusyError(
                f"{where} is in use: choose another port with --port, or 0 to pick a free port"
            ) from None
        self._server = HttpServer(app, shutdown_timeout_s=0, most_waiting=_MOST_WAITING, share=_SHARE)
        await self._server.start(sockets)
        self._port = sockets[0].getsockname()[1]
        self._tasks.start(self._close_expired_rooms())

    async def close(self) -> None:
        """Drop every worker without a close frame, as a stopping server does.

        Calling it more than once is safe.
        """
        await self._tasks.close()
        for connection in tuple(self._connections):
            connection.drop()
        server, self._server = self._server, None
        if server is not None:
            await server.close()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    # -- routes ----------------------------------------------------------------------------------------

    async def _route(self, request: web.Request) -> web.StreamResponse:
        """Check the token before the path, on every path (worker-protocol §2)."""
        try:
            grants = auth.authenticate(
                request.headers.get("Authorization"),
                request.query.get("access_token"),
                self._keys,
                now=self._clock.time(),
            )
        except auth.UnauthorizedError as error:
            return web.Response(status=401, text=str(error))
        path = request.path.removeprefix("/") if request.path.startswith("//") else request.path
        if path == "/":
            return web.Response(text="OK")
        if path == "/agent":
            return await self._agent(request, grants)
        if path.startswith(twirp.PREFIX):
            return await twirp.answer(request, grants, self._methods)
        if path == "/rtc" or path.startswith("/rtc/"):
            return web.Response(status=501, text=_NO_MEDIA)
        return web.Response(status=404, text=twirp.NOT_FOUND)

    async def _agent(self, request: web.Request, grants: auth.Grants) -> web.StreamResponse:
        if not _is_upgrade(request):
            return web.Response(status=404)
        if not grants.agent:
            return web.Response(status=401, text=auth.NO_PERMISSION)
        if request.method != "GET":
            return web.Response(status=405, text="Method Not Allowed", headers={"Allow": "GET"})
        connection = WorkerConnection(
            self._new_session(grants.api_key),
            pool=self._pool,
            sign=self._sign,
            simulate=self._dispatcher.simulate,
            timings=self._timings,
        )
        self._connections.add(connection)
        try:
            return await connection.serve(request)
        finally:
            self._connections.discard(connection)

    # -- for connections ----------------------------------------------------------------------------

    def _new_session(self, api_key: str) -> WorkerSession:
        info = ServerInfo(
            edition=ServerInfo.Standard,
            version=_SERVER_VERSION,
            protocol=_PROTOCOL,
            agent_protocol=_AGENT_PROTOCOL,
            node_id=self._node_id,
        )
        worker_id = new_id(WORKER_ID, self._rng)
        return WorkerSession(
            worker_id, api_key, info, self._clock, new_job_id=lambda: new_id(JOB_ID, self._rng)
        )

    def _sign(self, session: WorkerSession, job: Any, response: Any) -> str:
        return job_token(
            api_key=session.api_key,
            secret=self._keys[session.api_key],
            room=job.room.name,
            agent_name=job.agent_name,
            answer=response,
            permissions=session.permissions,
            now=self._clock.time(),
        )

    async def _close_expired_rooms(self) -> None:
        while True:
            await asyncio.sleep(self._timings.room_check_s)
            self._rooms.close_expired()


def _is_upgrade(request: web.Request) -> bool:
    connection = request.headers.get("Connection", "").lower()
    wanted = request.headers.get("Upgrade", "").lower()
    return "upgrade" in [item.strip() for item in connection.split(",")] and wanted == "websocket"
