"""Where to connect: the server's address, and the worker's endpoint made of it."""

import ipaddress
from dataclasses import dataclass, field
from urllib.parse import SplitResult, quote, urlencode, urlsplit, urlunsplit

from agent_tui.model.errors import UserError
from agent_tui.options.urls import SCHEMES, parse_server_url, shown_url


@dataclass(frozen=True, slots=True)
class ServerAddress:
    """A LiveKit server and what opens it. Secrets stay out of `repr`."""

    url: str
    api_key: str
    api_secret: str = field(repr=False)
    worker_token: str | None = field(default=None, repr=False)


def worker_url(server_url: str, worker_token: str | None = None) -> str:
    """The websocket address of the worker's endpoint on a server.

    `http` becomes `ws`, `https` becomes `wss`; base path and query string survive. No trailing slash: the
    server answers `/agent/` with 404 (worker-protocol §1). Raises `UserError` naming a URL that cannot work.
    """
    parts = _parse(server_url)
    path = quote(parts.path.rstrip("/"), safe="/%:@!$&'()*+,;=~") + "/agent"
    queries = [quote(parts.query, safe="/?%:@!$&'()*+,;=~")] if parts.query else []
    if worker_token:
        queries.append(urlencode({"worker_token": worker_token}))
    return urlunsplit((SCHEMES[parts.scheme], parts.netloc, path, "&".join(queries), ""))


def is_loopback(url: str) -> bool:
    """Whether a URL's host is this machine by its very name; nothing is resolved."""
    host = urlsplit(url).hostname or ""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _parse(server_url: str) -> SplitResult:
    try:
        return parse_server_url(server_url)
    except ValueError as error:
        raise UserError(
            f"server URL {shown_url(server_url)!r} cannot be used: {error} "
            "(--ws-url or LIVEKIT_URL, like ws://localhost:7880)"
        ) from None
