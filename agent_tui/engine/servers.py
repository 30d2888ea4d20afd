"""Which server to register with (configured, local, or embedded), its API, and links into its rooms."""

import asyncio
import contextlib
import os
import secrets
import shutil
import socket
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode, urlsplit

import msgspec
from livekit.protocol.room import ListRoomsRequest

import agent_tui
from agent_tui.logs.redactor import Redactor
from agent_tui.model.clock import Clock
from agent_tui.model.errors import ExitCode, ServerError, UserError
from agent_tui.model.events import Event, Notice, ServerChosen, ServerKind
from agent_tui.model.logs import LogLevel
from agent_tui.model.requests import JoinLink
from agent_tui.model.signing import sign
from agent_tui.options.declare import ServerOptions
from agent_tui.options.resolve import DEFAULT, Resolution
from agent_tui.options.urls import is_loopback
from agent_tui.settings.manager import SettingsManager
from agent_tui.system.descriptors import DESCRIPTORS
from agent_tui.worker.urls import Places, ServerAddress, worker_url

if TYPE_CHECKING:
    from livekit.api import LiveKitAPI

    from agent_tui.local_server.dispatcher import Unassigned

DEV_URL = "ws://localhost:7880"
DEV_KEY = "devkey"
DEV_SECRET = "secret"
"""The address and keys of `livekit-server --dev` (worker-protocol §12)."""

NO_MEDIA = (
    "embedded server: no audio or video; SDK jobs get a mock room, ctx.connect() fails in native jobs; "
    "install livekit-server for real rooms"
)

PROBE_S = 0.5
START_S = 10.0
API_TOKEN_LIFE_S = 600
JOIN_TOKEN_LIFE_S = 3600
JOIN_PAGE = "https://meet.livekit.io/custom"
"""LiveKit's page for any server; the browser connects to the server itself."""

GUARD = Path(agent_tui.__file__).parent / "child" / "python" / "guard.py"


@dataclass(frozen=True, slots=True)
class Server:
    """A server in use. `close` ends it if it was started here."""

    chosen: ServerChosen
    address: ServerAddress
    close: Callable[[], Awaitable[None]]


class ServerManager:
    """Keeps the server in use, and changes it when the options name another one."""

    current: Server

    def __init__(
        self,
        settings: SettingsManager,
        redactor: Redactor,
        *,
        local: bool,
        clock: Clock,
        emit: Callable[[Event], None],
        on_unassigned: "Callable[[Any, Unassigned], None]",
    ) -> None:
        """`on_unassigned` is called for each job for which the embedded server found no worker."""
        self._settings = settings
        self._redactor = redactor
        self._local = local
        self._clock = clock
        self._emit = emit
        self._on_unassigned = on_unassigned

    async def start(self) -> None:
        """Find or start the first server. Raise UserError if there is none and none can be started."""
        options = self._settings.options
        self.current, self._found_for = await self._find(options), _server_fields(options)

    @contextlib.asynccontextmanager
    async def switching(self, options: ServerOptions) -> AsyncIterator[Server]:
        """Switch to the server that these options name; if the body raises, stay with the old one.

        Raise UserError if that server cannot be used.
        """
        old, fields = self.current, _server_fields(options)
        if self._local or fields == self._found_for:
            yield old
            return
        new = self.current = await self._find(options)
        try:
            yield new
        except BaseException:
            self.current = old
            await new.close()
            self._emit(old.chosen)
            raise
        self._found_for = fields
        await old.close()  # only now: a failed switch goes back to the old one

    def variables(self, options: ServerOptions) -> dict[str, str]:
        """Return the environment variables with which the agent's code connects to the server.

        That is the server in use, unless these options name another one completely.
        """
        fields = _server_fields(options)
        values = fields[:3]
        if self._local or fields == self._found_for or not all(values):
            address = self.current.address
            values = address.url, address.api_key, address.api_secret
        return dict(zip(("LIVEKIT_URL", "LIVEKIT_API_KEY", "LIVEKIT_API_SECRET"), values, strict=True))

    async def _find(self, options: ServerOptions) -> Server:
        """Find or start the server, and mask its secrets in every log line."""
        self._redactor.mask((options.api_secret, options.worker_token))
        server = await self._choose(options)
        self._redactor.mask((server.address.api_secret, server.address.worker_token or ""))
        self._emit(server.chosen)
        if not server.chosen.media:
            self._emit(Notice(LogLevel.INFO, NO_MEDIA))
        return server

    async def _choose(self, options: ServerOptions) -> Server:
        """Choose the server. Credentials may still be missing: the agent's code can set them
        (`require_credentials`).
        """
        if not self._local and options.ws_url:
            address = configured(options, self._settings.resolution)
            chosen = _chosen(ServerKind.CONFIGURED, address.url, media=True)
            allowed = chosen.host.lower() in self._settings.environment.allow_remote
            return Server(msgspec.structs.replace(chosen, allowed=allowed), address, _nothing)
        if not self._local:
            if (found := await found_here(options)) is not None:
                return Server(_chosen(ServerKind.FOUND, found.url, media=True), found, _nothing)
            path = self._settings.environment.plain.get("PATH")
            if (binary := shutil.which("livekit-server", path=path)) is not None and not _port_in_use():
                return await _start_livekit_server(binary)
        from agent_tui.local_server.server import (
            LocalServer,  # imports aiohttp, which takes a fifth of the start
        )

        server = LocalServer(clock=self._clock, on_unassigned=self._on_unassigned)
        await server.start()
        address = ServerAddress(server.url, server.api_key, server.api_secret)
        return Server(_chosen(ServerKind.EMBEDDED, server.url, media=False), address, server.close)


def _server_fields(options: ServerOptions) -> tuple[str, str, str, str]:
    return options.ws_url, options.api_key, options.api_secret, options.worker_token


async def _nothing() -> None:
    return


def configured(options: ServerOptions, resolution: Resolution | None = None) -> ServerAddress:
    """Return the server that the options name. Raise UserError for an unusable URL.

    `resolution` says where they were set, for advice.
    """
    worker_url(options.ws_url)  # reports what is wrong with the URL
    key, secret = _credentials(options)
    places = _places(resolution) if resolution is not None else Places()
    return ServerAddress(options.ws_url, key, secret, options.worker_token or None, places)


def _places(resolution: Resolution) -> Places:
    """Return where URL, key, and secret were set, or where to set those that were not."""
    usual = Places()
    named = [(resolution.sources[name]) for name in ("wsURL", "apiKey", "apiSecret")]
    generic = (usual.url, usual.api_key, usual.api_secret)
    return Places(
        *(
            where if layer != DEFAULT and where else general
            for (layer, where), general in zip(named, generic, strict=True)
        )
    )


def _credentials(options: ServerOptions) -> tuple[str, str]:
    """Return key and secret; for a server on this machine, the development keys if none are set.

    A worker token does not replace them: it goes on the URL, and the SDKs still sign their token
    (agents-js.md §2, workerToken; livekit-agents.md §1.2).
    """
    if options.api_key or options.api_secret or not is_loopback(options.ws_url):
        return options.api_key, options.api_secret
    return DEV_KEY, DEV_SECRET


def require_credentials(options: ServerOptions) -> None:
    """Raise ServerError if a configured server lacks credentials, UserError if its URL is unusable."""
    if not options.ws_url:
        return
    worker_url(options.ws_url)
    key, secret = _credentials(options)
    for value, name, flag in ((key, "API key", "--api-key"), (secret, "API secret", "--api-secret")):
        if not value:
            variable = f"LIVEKIT_{name.upper().replace(' ', '_')}"
            raise ServerError(
                f"no {name} for {options.ws_url}",
                f"set {variable} or {flag}, or use --local for the embedded server",
            )


def _chosen(kind: ServerKind, url: str, *, media: bool) -> ServerChosen:
    return ServerChosen(kind, url, urlsplit(url).hostname or url, not is_loopback(url), media)


async def found_here(options: ServerOptions) -> ServerAddress | None:
    """Return the server on the development port if it accepts the configured or the default keys."""
    given = [(options.api_key, options.api_secret)] if options.api_key and options.api_secret else []
    for key, secret in (*given, (DEV_KEY, DEV_SECRET)):
        if await accepts_keys(DEV_URL, key, secret, PROBE_S):
            return ServerAddress(DEV_URL, key, secret)
    return None


async def accepts_keys(url: str, key: str, secret: str, limit_s: float) -> bool:
    """Return whether a LiveKit server answers there and accepts an API call with these keys."""
    address = urlsplit(url)
    try:
        async with asyncio.timeout(limit_s):
            _, writer = await asyncio.open_connection(address.hostname, address.port)
            writer.close()
    except (OSError, TimeoutError):
        return False
    room = secrets.token_hex(8)
    try:
        async with server_api(ServerAddress(url, key, secret), room, limit_s * 4) as client:
            await client.room.list_rooms(ListRoomsRequest(names=[room]))
    except Exception:  # not a usable LiveKit server
        return False
    return True


def _port_in_use() -> bool:
    address = urlsplit(DEV_URL)
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", address.port or 7880)) == 0


async def _start_livekit_server(binary: str) -> Server:
    """Start `livekit-server --dev`; it ends with this process, however this one ends."""
    lifeline_read, lifeline = os.pipe()
    os.set_inheritable(lifeline_read, True)
    try:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-I",
            str(GUARD),
            str(lifeline_read),
            binary,
            "--dev",
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
            pass_fds=(lifeline_read,),
            start_new_session=True,
        )
    except BaseException:
        os.close(lifeline)
        raise
    finally:
        os.close(lifeline_read)
    DESCRIPTORS.give_back(process.pid)

    async def close() -> None:
        with contextlib.suppress(OSError):
            os.close(lifeline)
        await process.wait()

    deadline = asyncio.get_running_loop().time() + START_S
    while not await accepts_keys(DEV_URL, DEV_KEY, DEV_SECRET, PROBE_S):
        if process.returncode is not None or asyncio.get_running_loop().time() > deadline:
            await close()
            raise UserError(
                f"{binary} --dev did not start on {DEV_URL}: run it by hand to see why, or use --local",
                ExitCode.SERVER,
            )
        await asyncio.sleep(0.05)
    chosen = _chosen(ServerKind.STARTED, DEV_URL, media=True)
    return Server(chosen, ServerAddress(DEV_URL, DEV_KEY, DEV_SECRET), close)


@contextlib.asynccontextmanager
async def server_api(address: ServerAddress, room: str, limit_s: float) -> "AsyncIterator[LiveKitAPI]":
    """Return a client that may create, list, and delete rooms, and dispatch into this one.

    Signs its own token, since livekit-api warns about a development server's short secret.
    """
    import aiohttp
    from livekit import api  # loads all services, which takes 0.5 s

    video = {"roomCreate": True, "roomList": True, "roomAdmin": True, "room": room}
    claims = {"iss": address.api_key, "exp": int(time.time()) + API_TOKEN_LIFE_S, "video": video}
    client = api.LiveKitAPI.with_token(
        sign(claims, address.api_secret),
        address.url,
        timeout=aiohttp.ClientTimeout(total=limit_s),
        failover=False,
    )
    try:
        yield client
    finally:
        await client.aclose()


def join_link(
    server: ServerChosen,
    address: ServerAddress,
    room: str,
    agent_name: str,
    deployment: str = "",
    *,
    needs_dispatch: bool = False,
) -> JoinLink:
    """Return a link for one new participant, valid for an hour.

    If joining creates the room, the agent is dispatched to it. Raise UserError on a server without media.
    """
    if not server.media:
        raise UserError(
            "the embedded server has no media, so no one can join: put livekit-server on PATH or start "
            "`livekit-server --dev`, then restart agent-tui"
        )
    claims = {
        "iss": address.api_key,
        "sub": f"developer-{secrets.token_hex(3)}",
        "exp": int(time.time()) + JOIN_TOKEN_LIFE_S,
        "video": {"roomJoin": True, "room": room, "canPublish": True, "canSubscribe": True},
    }
    if agent_name or deployment:
        agent = {"agentName": agent_name, "deployment": deployment}
        claims["roomConfig"] = {"agents": [{name: value for name, value in agent.items() if value}]}
    token = sign(claims, address.api_secret)
    query = urlencode({"liveKitUrl": address.url, "token": token})
    return JoinLink(room, address.url, token, f"{JOIN_PAGE}?{query}", needs_dispatch)
