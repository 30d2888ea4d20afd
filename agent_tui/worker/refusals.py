"""Explains failed connections: the cause in one line, and what to check. Pure functions."""

import email.utils
import errno
import re
import socket
import ssl
from dataclasses import dataclass
from urllib.parse import urlsplit

from agent_tui.model.wording import duration_text
from agent_tui.options.urls import shown_url
from agent_tui.worker.urls import ServerAddress

CREDENTIALS_REFUSED = frozenset({401, 403})

SKEW_S = 30.0
"""If the clocks differ by more than this, in s, that is named as a reason for refused credentials."""


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why there is no registration, and what to do about it; `todo` may be empty."""

    cause: str
    todo: str = ""

    def __str__(self) -> str:
        return f"{self.cause}; {self.todo}" if self.todo else self.cause


# First match wins. The texts come from the server (worker-protocol §2; livekit-server 1.13.5 as released says
# "invalid token: <the token>, error: …") and from the Go libraries that check its tokens.
# In the causes, {key} is the API key; in the advice, {url}, {key}, and {secret} are the places where these
# values were set.
_CREDENTIALS: tuple[tuple[str, str, str], ...] = (
    (r"invalid api key", "the server does not know the API key {key}", "check {key}, or {url}"),
    (
        r"expired|\(exp\)|not valid yet|\(nbf\)|used before issued|\(iat\)|clock",
        "the server rejects the token as expired or not yet valid",
        "its clock and this machine's differ: fix the wrong one",
    ),
    (
        r"signature|cryptographic primitive",
        "the API secret does not match API key {key}: the server rejected the token's signature",
        "check {secret}",
    ),
    (
        r"no permissions",
        "the server received no worker token",
        "a proxy may drop the Authorization header: check {url}",
    ),
    (
        r"invalid authorization header",
        "the server could not read the Authorization header",
        "a proxy may change it: check {url}",
    ),
    (
        r"invalid (authorization )?token",
        "the server does not accept the token of API key {key}",
        "check {secret}",
    ),
)

_STATUS: dict[int, tuple[str, str]] = {
    404: (
        "the server has no worker endpoint at this path",
        "check {url}: give the server's base URL without /agent or /rtc",
    ),
    407: ("the proxy asks for a password", "check HTTPS_PROXY and NO_PROXY"),
    429: ("the server refuses: too many attempts", "wait, or stop other workers with this key"),
}


def explain_refusal(
    status: int, body: str, url: str, server: ServerAddress, skew: float | None = None
) -> Explanation:
    """Explain an HTTP answer other than 101: what the server found wrong and what to check.

    `body` is the answer's text. The query of `url` is not shown, and only the start of a long API key,
    since it may be a misplaced secret. `skew` is how many seconds this machine's clock is ahead of the
    server's: a large one explains refused credentials.
    """
    key, places = server.api_key, server.places
    answer = _one_line(body.replace(key, _short(key)) if key else body)
    if status in CREDENTIALS_REFUSED:
        usual = "the server refuses the credentials", "check {key} and {secret}"
        found = ((cause, todo) for pattern, cause, todo in _CREDENTIALS if re.search(pattern, answer.lower()))
        cause, todo = next(found, usual)
        if skew is not None and abs(skew) > SKEW_S:
            cause = f"{cause}: {describe_skew(skew)}"
    elif status >= 500:
        cause, todo = (
            "the server reports an error, or its proxy cannot reach it",
            "see the server's log, or check {url}",
        )
    else:
        cause, todo = _STATUS.get(
            status, ("the server does not respond like a LiveKit server", "check {url}")
        )
    quoted = f", {answer!r}" if answer else ""
    cause = cause.format(key=repr(_short(key)))
    todo = todo.format(url=places.url, key=places.api_key, secret=places.api_secret)
    return Explanation(f"{cause} ({shown_url(url)}, HTTP {status}{quoted})", todo)


def explain_unreachable(error: BaseException, server: ServerAddress, url: str) -> Explanation:
    """Explain a connection to `url` that failed before any HTTP answer."""
    parts, check = urlsplit(url), f"check {server.places.url}"
    at = f"{parts.hostname}:{parts.port or (443 if parts.scheme == 'wss' else 80)}"
    match error:
        case ssl.SSLCertVerificationError():
            return Explanation(
                f"the certificate of {at} is not trusted: {error.verify_message}",
                f"{check} (host), or name the certificate authority in SSL_CERT_FILE",
            )
        case ssl.SSLError():
            return Explanation(f"{at} does not speak TLS", f"{check}: ws:// instead of wss://, or the port")
        case socket.gaierror(errno=socket.EAI_AGAIN):
            return Explanation(
                f"could not resolve host name {parts.hostname!r}: {error.strerror}",
                f"{check} (host), or this machine's network",
            )
        case socket.gaierror():
            return Explanation(f"unknown host name {parts.hostname!r}", f"{check} (host)")
        case TimeoutError():
            return Explanation(f"{at} did not answer in time", f"{check} (host and port), or a firewall")
        case OSError():
            return _explain_os_error(error, check, at)
        case _:
            answer = _one_line(str(error)) or type(error).__name__
            return Explanation(
                f"{at} does not speak websocket: {answer}", f"{check} (scheme, port, and path)"
            )


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


def _explain_os_error(error: OSError, check: str, at: str) -> Explanation:
    if lacks_descriptors(error):
        return Explanation(
            "agent-tui is out of file descriptors", "raise the limit (ulimit -n) and restart it"
        )
    if errno.ECONNREFUSED in _numbers(error):
        return Explanation(f"nothing is listening on {at}", f"start the server, or {check} (host and port)")
    if isinstance(error, ConnectionError):
        return Explanation(
            f"{at} closed the connection before it answered", f"{check}: ws:// or wss://, and the port"
        )
    return Explanation(f"{at} cannot be reached: {_one_line(str(error))}", f"{check} (host and port)")


def _one_line(text: str) -> str:
    words = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return re.sub(r"eyJ[\w.-]{10,}", "…", words)[:200]


def _short(api_key: str) -> str:
    return api_key if len(api_key) <= 16 else api_key[:4] + "…"
