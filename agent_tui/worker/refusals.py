"""Explains failed connections in one line that says what to check. Pure functions."""

import email.utils
import errno
import re
import socket
import ssl
from urllib.parse import urlsplit

from agent_tui.model.wording import duration_text
from agent_tui.options.urls import shown_url

CREDENTIALS_REFUSED = frozenset({401, 403})

SKEW_S = 30.0
"""Seconds of clock skew beyond which a token is soon not valid yet, or expired."""

_KEY = "check --api-key / LIVEKIT_API_KEY"
_SECRET = "check --api-secret / LIVEKIT_API_SECRET"
_URL = "check --ws-url / LIVEKIT_URL"

# First match wins. The texts come from the server (worker-protocol §2; livekit-server 1.13.5 as released says
# "invalid token: <the token>, error: …") and from the Go libraries that check its tokens.
_CREDENTIALS: tuple[tuple[str, str], ...] = (
    (r"invalid api key", "does not know the API key {key}: " + _KEY + ", or " + _URL),
    (
        r"expired|\(exp\)|not valid yet|\(nbf\)|used before issued|\(iat\)|clock",
        "rejects the token's time: its clock and this machine's differ, fix the wrong one",
    ),
    (
        r"signature|cryptographic primitive",
        "rejected the token's signature: the API secret does not match API key {key}. Check "
        "--api-secret / LIVEKIT_API_SECRET",
    ),
    (
        r"no permissions",
        "received no worker token: a proxy may drop the Authorization header, " + _URL,
    ),
    (
        r"invalid authorization header",
        "could not read the Authorization header: a proxy may change it, " + _URL,
    ),
    (r"invalid (authorization )?token", "does not accept the token: " + _SECRET + " for the API key {key}"),
)

_STATUS: dict[int, str] = {
    404: "has no worker endpoint at this path: "
    + _URL
    + ", it is the server's base URL without /agent or /rtc",
    407: "cannot be reached: the proxy asks for a password, see HTTPS_PROXY and NO_PROXY",
    429: "refuses: too many attempts",
}


def explain_refusal(status: int, body: str, url: str, api_key: str, skew: float | None = None) -> str:
    """Return one line for an HTTP answer other than 101: what the server found wrong and what to check.

    `body` is the answer's text. The query of `url` is not shown, and only the start of a long `api_key`,
    since it may be a misplaced secret. `skew` is how many seconds this machine's clock is ahead of the
    server's: a large one explains refused credentials.
    """
    answer = _one_line(body.replace(api_key, _short(api_key)) if api_key else body)
    why = _STATUS.get(status)
    if status in CREDENTIALS_REFUSED:
        found = (text for pattern, text in _CREDENTIALS if re.search(pattern, answer.lower()))
        why = next(found, "refuses the credentials: " + _KEY + " and --api-secret / LIVEKIT_API_SECRET")
        if skew is not None and abs(skew) > SKEW_S:
            why = f"{why}; {describe_skew(skew)}"
    elif status >= 500:
        why = "reports an error, or its proxy cannot reach it"
    elif why is None:
        why = "does not answer like a LiveKit server: " + _URL
    quoted = f", {answer!r}" if answer else ""
    return f"{shown_url(url)} {why.format(key=repr(_short(api_key)))} (HTTP {status}{quoted})"


def explain_unreachable(error: BaseException, url: str) -> str:
    """Return one line for a connection that failed before any HTTP answer."""
    shown, parts = shown_url(url), urlsplit(url)
    at = f"{parts.hostname}:{parts.port or (443 if parts.scheme == 'wss' else 80)}"
    match error:
        case ssl.SSLCertVerificationError():
            return f"{shown} has a certificate that is not trusted: {error.verify_message}; {_URL} (host)"
        case ssl.SSLError():
            return f"{shown} does not speak TLS on {at}: {_URL} (ws:// for wss://, or the port)"
        case socket.gaierror():
            return f"{shown} cannot be reached: unknown host name {parts.hostname!r}; {_URL} (host)"
        case TimeoutError():
            return f"{shown} did not answer in time: {_URL} (host and port), or a firewall"
        case OSError():
            return _explain_os_error(error, shown, at)
        case _:
            answer = _one_line(str(error)) or type(error).__name__
            return f"{shown} does not speak websocket on {at}: {answer}; {_URL} (scheme, port and path)"


def skew_s(date: str, now: float) -> float | None:
    """Return how many seconds this machine is ahead of a `Date` header; None if that cannot be read."""
    try:
        return now - email.utils.parsedate_to_datetime(date).timestamp()
    except (ValueError, TypeError):
        return None


def describe_skew(skew: float) -> str:
    """Return the skew as text."""
    relation = "ahead of" if skew > 0 else "behind"
    return f"this machine's clock is {duration_text(abs(skew))} {relation} the server's"


def lacks_descriptors(error: BaseException) -> bool:
    """Return whether this process or the machine is out of file descriptors."""
    return isinstance(error, OSError) and not _numbers(error).isdisjoint((errno.EMFILE, errno.ENFILE))


def _numbers(error: OSError) -> set[int | None]:
    # With several addresses, asyncio joins the errors to one text and drops their numbers.
    return {int(number) for number in re.findall(r"\[Errno (\d+)\]", str(error))} | {error.errno}


def _explain_os_error(error: OSError, shown: str, at: str) -> str:
    if lacks_descriptors(error):
        return f"{shown} cannot be reached: agent-tui is out of file descriptors (see ulimit -n)"
    if errno.ECONNREFUSED in _numbers(error):
        return (
            f"{shown} cannot be reached: nothing listens on {at}; start the server, or {_URL} (host and port)"
        )
    if isinstance(error, ConnectionError):
        return f"{shown} closed the connection before it answered: {_URL} (ws:// or wss://, and the port)"
    return f"{shown} cannot be reached: {_one_line(str(error))}; {_URL} (host and port)"


def _one_line(text: str) -> str:
    words = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return re.sub(r"eyJ[\w.-]{10,}", "…", words)[:200]


def _short(api_key: str) -> str:
    return api_key if len(api_key) <= 16 else api_key[:4] + "…"
