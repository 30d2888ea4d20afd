"""Health, worker information, and metrics over HTTP, at the SDKs' paths (agents-js.md §10)."""

import contextlib
import ipaddress
import math
import socket
from collections.abc import Callable
from dataclasses import asdict
from urllib.parse import urlsplit

import aiohttp
from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from agent_tui.engine.endpoint import WorkerInfo
from agent_tui.model.errors import PortBusyError
from agent_tui.system.http import HttpServer
from agent_tui.system.listening import busy, listen

CLOSE_TIMEOUT_S = 0.25
PROBE_S = 2.0
METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class InfoServer:
    """Serves `GET /` (200 `OK`, or 503 and a reason), `GET /worker` (JSON), and `GET /metrics` (Prometheus).

    `health` returns None if all is well, else the reason. All three are called at every request.
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
        """The port; after `start`, the actual one in place of 0."""
        return self._port

    async def start(self) -> None:
        """Start listening. Raise `PortBusyError` if the port is in use, `UserError` for a bad address."""
        try:
            sockets = await listen(self._host, self._port)
        except PortBusyError as taken:
            raise PortBusyError(busy(self._host, self._port, await who_listens(self._port))) from taken
        await self.serve(sockets)

    async def serve(self, sockets: list[socket.socket]) -> None:
        """Serve on these listening sockets. The server owns them from now on."""
        app = web.Application(middlewares=[_refuse_other_names(self._host)])
        app.router.add_get("/", self._answer_health)
        app.router.add_get("/worker", self._answer_worker)
        app.router.add_get("/metrics", self._answer_metrics)
        self._server = HttpServer(app, shutdown_timeout_s=CLOSE_TIMEOUT_S)
        await self._server.start(sockets)
        self._port = sockets[0].getsockname()[1]

    async def close(self) -> None:
        """Stop listening and end open connections. Calling it more than once, or before `start`, is safe."""
        server, self._server = self._server, None
        if server is not None:
            await server.close()

    async def _answer_health(self, _request: web.Request) -> web.Response:
        problem = self._health()
        if problem is None:
            return web.Response(text="OK")
        return web.Response(status=503, text=problem)

    async def _answer_worker(self, _request: web.Request) -> web.Response:
        answer = asdict(self._info())
        if not math.isfinite(answer["worker_load"]):
            answer["worker_load"] = None  # JSON has no NaN or infinity
        return web.json_response(answer)

    async def _answer_metrics(self, _request: web.Request) -> web.Response:
        text = self._metrics()
        return web.Response(body=text, headers={"Content-Type": METRICS_TYPE})


def _refuse_other_names(own: str) -> Middleware:
    """Return a middleware that refuses requests for other host names.

    Otherwise a web page could read the answers, if its own name resolves to this machine (DNS rebinding).
    """

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


async def who_listens(port: int) -> str:
    """Return what listens on the port: another worker, or another program."""
    limit = aiohttp.ClientTimeout(total=PROBE_S)
    with contextlib.suppress(aiohttp.ClientError, OSError, ValueError, TimeoutError, AttributeError):
        async with (
            aiohttp.ClientSession(timeout=limit) as session,
            session.get(f"http://127.0.0.1:{port}/worker") as response,
        ):
            answer = await response.json()
            name = str(answer["agent_name"])[:100] if answer.get("worker_type") else None
            if name is not None:
                return f"another worker ({name!r})" if name else "another worker (without a name)"
    return "another program"
