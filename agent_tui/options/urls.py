"""What a server's URL must be like."""

import re
from urllib.parse import SplitResult, urlsplit

SCHEMES = {"ws": "ws", "http": "ws", "wss": "wss", "https": "wss"}
_UNSEEN = re.compile(r"[\s\x00-\x1f\x7f]")
_SCHEME = re.compile("[A-Za-z]{0,10}")
_AUTHORITY = re.compile(r"(?:[\w.-]*|\[[^\[\]]*\])(?::\d{0,5})?")
_BARE_ADDRESS = re.compile(
    r"|localhost|[a-z0-9-]+(?:\.[a-z0-9-]+)*(?:\.[a-z]{2,24}|:\d{1,5}|(?:\.\d{1,3}){3})"
)
"""Without a scheme, what is surely a host: a secret has no domain and no port."""


def parse_server_url(url: str) -> SplitResult:
    """The URL's parts. Raises ValueError with why it cannot be used; never quotes a part of it."""
    if _UNSEEN.search(url):
        raise ValueError("it holds blanks or control characters")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:  # which quotes what it does not understand: in `wss://key:secret` that is the secret
        raise ValueError("it names no usable host and port") from None
    if parts.scheme not in SCHEMES:
        raise ValueError("it must begin with ws://, wss://, http:// or https://")
    if "@" in parts.netloc:
        raise ValueError("it must not hold a user name or password; give the API key and secret instead")
    if not host or not _is_host(host):
        raise ValueError("it names no usable host")
    if port == 0:
        raise ValueError("port 0 cannot be connected to")
    if parts.fragment:
        raise ValueError("a part after # means nothing here")
    return parts


def shown_url(url: str) -> str:
    """Return a URL for people: without user, password and query, and masked where it is not like an address.

    A key or secret that was pasted in its place is like none.
    """
    scheme, separator, rest = url.partition("?")[0].rpartition("://")
    _, at, place = rest.rpartition("@")
    authority = place.partition("/")[0]
    shape = _AUTHORITY if separator else _BARE_ADDRESS
    shown = place if shape.fullmatch(authority) else "•••"
    return f"{scheme if _SCHEME.fullmatch(scheme) else '•••'}{separator}{at and '…@'}{shown}"


def _is_host(host: str) -> bool:
    if ":" in host:
        return True  # urlsplit has checked what stands in brackets
    try:
        host.encode("idna")
    except UnicodeError:
        return False
    return re.fullmatch(r"[\w.-]+", host) is not None
