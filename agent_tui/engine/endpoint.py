"""Health, worker information and metrics over HTTP, at the paths of the SDKs (agents-js.md §10)."""

import asyncio
import contextlib
import ipaddress
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from urllib.parse import urlsplit

import aiohttp
from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from agent_tui.model import events as ev
from agent_tui.model.errors import PortBusyError, UserError
from agent_tui.options.declare import ServerOptions
from agent_tui.system.http import HttpServer, busy, listen

CLOSE_TIMEOUT_S = 0.25
PROBE_S = 0.5
PROTOCOL_VERSION = 1
METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"


@dataclass(frozen=True, slots=True)
class WorkerInfo:
    """What `/worker` answers, under the names of the SDKs. `worker_type` is like `JT_ROOM`."""

    agent_name: str
    worker_type: str
    active_jobs: int
    sdk_version: str
    worker_load: float
    agent_name_is_env: bool
    deployment: str
    project_type: str
    protocol_version: int = PROTOCOL_VERSION


class InfoServer:
    """Serves `GET /` (200 `OK`, or 503 and a reason), `GET /worker` (JSON) and `GET /metrics` (Prometheus).

    `health` returns None while all is well, else what is wrong; all three are asked at every request.
    """

    def __init__(
        self,
        *,
        host: str,
        port: int,
        health: Callable[[], str | None],
        info: Callable[[], WorkerInfo],
        metrics: Callable[[], bytes] = bytes,
    ) -> None:
        self._host = host
        self._port = port
        self._health = health
        self._info = info
        self._metrics = metrics
        self._server: HttpServer | None = None

    @property
    def port(self) -> int:
        """The port; once started, the one really used in place of 0."""
        return self._port

    async def start(self) -> None:
        """Listens. Raises `PortBusyError`, or `UserError` for an address that cannot be listened on."""
        try:
            sockets = await listen(self._host, self._port)
        except PortBusyError as taken:
            raise PortBusyError(busy(self._host, self._port, await _who_listens(self._port))) from taken
        app = web.Application(middlewares=[_refuse_other_names(self._host)])
        app.router.add_get("/", self._answer_health)
        app.router.add_get("/worker", self._answer_worker)
        app.router.add_get("/metrics", self._answer_metrics)
        self._server = HttpServer(app, shutdown_timeout_s=CLOSE_TIMEOUT_S)
        await self._server.start(sockets)
        self._port = sockets[0].getsockname()[1]

    async def close(self) -> None:
        """Stops listening and ends open connections. Can be called again, and before `start`."""
        server, self._server = self._server, None
        if server is not None:
            await server.close()

    async def _answer_health(self, _request: web.Request) -> web.Response:
        trouble = self._health()
        if trouble is None:
            return web.Response(text="OK")
        return web.Response(status=503, text=trouble)

    async def _answer_worker(self, _request: web.Request) -> web.Response:
        answer = asdict(self._info())
        if not math.isfinite(answer["worker_load"]):
            answer["worker_load"] = None  # JSON has no word for it
        return web.json_response(answer)

    async def _answer_metrics(self, _request: web.Request) -> web.Response:
        text = self._metrics()
        return web.Response(body=text, headers={"Content-Type": METRICS_TYPE})


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


def _refuse_other_names(own: str) -> Middleware:
    """A page in a browser must not reach us under a name of its own that it lets point here."""

    @web.middleware
    async def refuse(request: web.Request, handler: Handler) -> web.StreamResponse:
        name = _host(request.headers.get("Host", "localhost"))
        if name in ("localhost", own.lower()) or name.endswith(".localhost") or _is_address(name):
            return await handler(request)
        return web.Response(status=403, text="host name not allowed: use localhost or an IP address")

    return refuse


def _host(header: str) -> str:
    try:
        return urlsplit(f"//{header}").hostname or ""
    except ValueError:
        return ""


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


async def _who_listens(port: int) -> str:
    """What answers there, if it is a worker too."""
    limit = aiohttp.ClientTimeout(total=PROBE_S)
    with contextlib.suppress(aiohttp.ClientError, OSError, ValueError, TimeoutError, AttributeError):
        async with (
            aiohttp.ClientSession(timeout=limit) as session,
            session.get(f"http://127.0.0.1:{port}/worker") as response,
        ):
            told = await response.json()
            name = str(told["agent_name"])[:100] if told.get("worker_type") else None
            if name is not None:
                return f"another worker ({name!r})" if name else "another worker (without a name)"
    return "another program"
