"""Where to connect: the server's address, and the worker's endpoint made of it."""

import ipaddress
import re
from dataclasses import dataclass, field
from urllib.parse import SplitResult, quote, urlencode, urlsplit, urlunsplit

from agent_tui.model.errors import UserError

_SCHEMES = {"ws": "ws", "http": "ws", "wss": "wss", "https": "wss"}
_UNSEEN = re.compile(r"[\s\x00-\x1f\x7f]")


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
    return urlunsplit((_SCHEMES[parts.scheme], parts.netloc, path, "&".join(queries), ""))


def shown_url(url: str) -> str:
    """A URL for people: without its query, which may hold a token."""
    return url.partition("?")[0]


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
    if _UNSEEN.search(server_url):
        raise _bad(server_url, "it holds blanks or control characters")
    try:
        parts = urlsplit(server_url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise _bad(server_url, str(error)) from None
    if parts.scheme not in _SCHEMES:
        raise _bad(server_url, "it must begin with ws://, wss://, http:// or https://")
    if "@" in parts.netloc:
        shown = f"{parts.scheme}://…@{parts.netloc.rpartition('@')[2]}"
        raise _bad(shown, "it must not hold a user name or password; give the API key and secret instead")
    if not host or not _is_host(host):
        raise _bad(server_url, "it names no usable host")
    if port == 0:
        raise _bad(server_url, "port 0 cannot be connected to")
    if parts.fragment:
        raise _bad(server_url, "a part after # means nothing here")
    return parts


def _is_host(host: str) -> bool:
    if ":" in host:
        return True  # urlsplit has checked what stands in brackets
    try:
        host.encode("idna")
    except UnicodeError:
        return False
    return re.fullmatch(r"[\w.-]+", host) is not None


def _bad(value: str, why: str) -> UserError:
    return UserError(
        f"server URL {shown_url(value)!r} cannot be used: {why} (--ws-url or LIVEKIT_URL, like ws://localhost:7880)"
    )
