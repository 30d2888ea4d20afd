"""Health and information over HTTP, at the paths of the SDKs (agents-js.md §10)."""

import asyncio
import contextlib
import errno
import ipaddress
import logging
import math
import socket
from collections.abc import Callable
from dataclasses import asdict, dataclass
from urllib.parse import urlsplit

import aiohttp
from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from agent_tui.model.errors import PortBusyError, UserError

# Its messages come back as an HTTP 500; on a terminal they would spoil the screen.
_LOGGER = logging.getLogger("agent_tui.worker.http")
_LOGGER.addHandler(logging.NullHandler())
_LOGGER.propagate = False

CLOSE_TIMEOUT_S = 0.25
PROBE_S = 0.5
PROTOCOL_VERSION = 1
METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"
MAX_PORT = 65535


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
        self._runner: web.AppRunner | None = None

    @property
    def port(self) -> int:
        """The port; once started, the one really used in place of 0."""
        return self._port

    async def start(self) -> None:
        """Listens. Raises `PortBusyError`, or `UserError` for an address that cannot be listened on."""
        try:
            sockets = await _listen(self._host, self._port)
        except PortBusyError as busy:
            raise PortBusyError(_busy(self._host, self._port, await _who_listens(self._port))) from busy
        app = web.Application(middlewares=[_refuse_other_names(self._host)])
        app.router.add_get("/", self._answer_health)
        app.router.add_get("/worker", self._answer_worker)
        app.router.add_get("/metrics", self._answer_metrics)
        self._runner = web.AppRunner(
            app, access_log=None, logger=_LOGGER, handle_signals=False, shutdown_timeout=CLOSE_TIMEOUT_S
        )
        await self._runner.setup()
        for listening in sockets:
            await web.SockSite(self._runner, listening).start()
        self._port = sockets[0].getsockname()[1]

    async def close(self) -> None:
        """Stops listening and ends open connections. Can be called again, and before `start`."""
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()

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


def _refuse_other_names(own: str) -> Middleware:
    """A page in a browser must not reach us under a name of its own that it lets point here."""

    @web.middleware
    async def refuse(request: web.Request, handler: Handler) -> web.StreamResponse:
        name = _host(request.headers.get("Host", "localhost"))
        if name in ("localhost", own.lower()) or name.endswith(".localhost") or _is_address(name):
            return await handler(request)
        return web.Response(status=403, text="ask for localhost or an address")

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


async def _listen(host: str, port: int) -> list[socket.socket]:
    """One listening socket for each address of `host`; with port 0 all share the one that was found."""
    if not 0 <= port <= MAX_PORT:
        raise UserError(f"port {port} does not exist: use --port with 0 (any free one) to {MAX_PORT}")
    loop = asyncio.get_running_loop()
    try:
        found = await loop.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        raise UserError(f"cannot listen on {host}:{port}: {error} (--host, --port)") from None
    with contextlib.ExitStack() as opened:
        sockets: list[socket.socket] = []
        failure: OSError | None = None
        for family, *_, address in dict.fromkeys(found):
            chosen = sockets[0].getsockname()[1] if sockets else port
            try:
                listening = socket.create_server(
                    (address[0], chosen, *address[2:]),
                    family=family,
                )
            except OSError as error:
                failure = error
            else:
                sockets.append(opened.enter_context(listening))
        # A port named by the user must be free on every address of the host.
        if not sockets or (failure is not None and failure.errno == errno.EADDRINUSE and port):
            raise _cannot_listen(host, port, failure)
        opened.pop_all()
        return sockets


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


def _busy(host: str, port: int, who: str) -> str:
    at = f"{host or '*'}:{port}"
    return f"{at} is in use by {who}: choose another with --port, or --port 0 for any free one"


def _cannot_listen(host: str, port: int, error: OSError | None) -> UserError:
    at = f"{host or '*'}:{port}"
    if error is not None and error.errno == errno.EADDRINUSE:
        return PortBusyError(_busy(host, port, "another program"))
    return UserError(f"cannot listen on {at}: {error.strerror if error else 'no address'} (--host, --port)")
