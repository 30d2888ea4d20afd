"""Where to connect and how: the server's address, the worker's endpoint on it, and its token."""

from dataclasses import dataclass, field
from urllib.parse import SplitResult, quote, urlencode, urlunsplit

from agent_tui.model.errors import UserError
from agent_tui.model.signing import sign
from agent_tui.options.urls import SCHEMES, parse_server_url, shown_url

TOKEN_LIFE_S = 6 * 3600
"""Seconds that a token is valid, as in the SDKs. It is only checked at the upgrade.

A long validity helps if this machine's clock is behind the server's.
"""


@dataclass(frozen=True, slots=True)
class Places:
    """Where a server's address and credentials were set, for advice: `LIVEKIT_API_KEY in .env:2`."""

    url: str = "--ws-url / LIVEKIT_URL"
    api_key: str = "--api-key / LIVEKIT_API_KEY"
    api_secret: str = "--api-secret / LIVEKIT_API_SECRET"


@dataclass(frozen=True, slots=True)
class ServerAddress:
    """A LiveKit server and its credentials. Secrets stay out of `repr`."""

    url: str
    api_key: str
    api_secret: str = field(repr=False)
    worker_token: str | None = field(default=None, repr=False)
    places: Places = field(default=Places(), repr=False, compare=False)


def worker_url(server_url: str, worker_token: str | None = None) -> str:
    """Return the websocket URL of the worker's endpoint on a server.

    `http` becomes `ws`, `https` becomes `wss`; base path and query string are kept. No trailing slash: the
    server answers `/agent/` with 404 (worker-protocol §1). Raise `UserError` for an unusable URL.
    """
    parts = _parse(server_url)
    path = quote(parts.path.rstrip("/"), safe="/%:@!$&'()*+,;=~") + "/agent"
    queries = [quote(parts.query, safe="/?%:@!$&'()*+,;=~")] if parts.query else []
    if worker_token:
        queries.append(urlencode({"worker_token": worker_token}))
    return urlunsplit((SCHEMES[parts.scheme], parts.netloc, path, "&".join(queries), ""))


def worker_token(server: ServerAddress, now: float) -> str:
    """Return a JWT for one connection attempt; `now` is in Unix seconds.

    HS256, issued by the API key, with `exp` and `video.agent` (worker-protocol §2). There is no `nbf`, so a
    clock that is ahead does no harm. Raise `UserError` if the key or the secret is empty.
    """
    for value, name in ((server.api_key, "key"), (server.api_secret, "secret")):
        if not value:
            raise UserError(f"no API {name} for {server.url}: set LIVEKIT_API_{name.upper()} or --api-{name}")
    claims = {"iss": server.api_key, "exp": int(now) + TOKEN_LIFE_S, "video": {"agent": True}}
    return sign(claims, server.api_secret)


def _parse(server_url: str) -> SplitResult:
    try:
        return parse_server_url(server_url)
    except ValueError as error:
        raise UserError(
            f"server URL {shown_url(server_url)!r} cannot be used: {error} "
            "(--ws-url or LIVEKIT_URL, like ws://localhost:7880)"
        ) from None
