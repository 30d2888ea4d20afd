"""What a server's URL must be like."""

import re
from urllib.parse import SplitResult, urlsplit

SCHEMES = {"ws": "ws", "http": "ws", "wss": "wss", "https": "wss"}
_UNSEEN = re.compile(r"[\s\x00-\x1f\x7f]")


def parse_server_url(url: str) -> SplitResult:
    """The URL's parts. Raises ValueError with why it cannot be used; never names a password."""
    if _UNSEEN.search(url):
        raise ValueError("it holds blanks or control characters")
    parts = urlsplit(url)
    host, port = parts.hostname, parts.port
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
    """A URL for people: without its query, which may hold a token, and without a user's password."""
    plain = url.partition("?")[0]
    scheme, separator, rest = plain.partition("://")
    return f"{scheme}{separator}…@{rest.rpartition('@')[2]}" if "@" in rest else plain


def _is_host(host: str) -> bool:
    if ":" in host:
        return True  # urlsplit has checked what stands in brackets
    try:
        host.encode("idna")
    except UnicodeError:
        return False
    return re.fullmatch(r"[\w.-]+", host) is not None
