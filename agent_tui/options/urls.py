"""Checks and shows a server's URL."""

import ipaddress
import re
from urllib.parse import SplitResult, urlsplit

SCHEMES = {"ws": "ws", "http": "ws", "wss": "wss", "https": "wss"}
_UNSEEN = re.compile(r"[\s\x00-\x1f\x7f]")
_SCHEME = re.compile("[A-Za-z]{0,10}")
_AUTHORITY = re.compile(r"(?:[\w.-]*|\[[^\[\]]*\])(?::\d{0,5})?")
_BARE_ADDRESS = re.compile(
    r"|localhost|[a-z0-9-]+(?:\.[a-z0-9-]+)*(?:\.[a-z]{2,24}|:\d{1,5}|(?:\.\d{1,3}){3})"
)
"""Matches text without a scheme that is certainly an address: a secret does not end in a domain or port."""


def parse_server_url(url: str) -> SplitResult:
    """Return the URL's parts. Raise ValueError if it cannot be used; the message never quotes the URL."""
    if _UNSEEN.search(url):
        raise ValueError("it contains spaces or control characters")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:  # its text quotes what it cannot parse: in `wss://key:secret` the secret
        raise ValueError("it has no usable host and port") from None
    if parts.scheme not in SCHEMES:
        raise ValueError("it must start with ws://, wss://, http://, or https://")
    if "@" in parts.netloc:
        raise ValueError("it must not contain a user name or password; set apiKey and apiSecret instead")
    if not host or not _is_host(host):
        raise ValueError("it has no usable host")
    if port == 0:
        raise ValueError("its port is 0")
    if parts.fragment:
        raise ValueError("it must not have a part after #")
    return parts


def shown_url(url: str) -> str:
    """Return a URL to show, without user, password, and query. Mask it unless it looks like an address.

    A key or secret that was pasted in place of a URL does not look like an address.
    """
    scheme, separator, rest = url.partition("?")[0].rpartition("://")
    _, at, place = rest.rpartition("@")
    authority = place.partition("/")[0]
    shape = _AUTHORITY if separator else _BARE_ADDRESS
    shown = place if shape.fullmatch(authority) else "•••"
    return f"{scheme if _SCHEME.fullmatch(scheme) else '•••'}{separator}{at and '…@'}{shown}"


def is_loopback(url: str) -> bool:
    """Return whether a URL's host is literally this machine; nothing is resolved."""
    host = urlsplit(url).hostname or ""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _is_host(host: str) -> bool:
    if ":" in host:
        return True  # urlsplit has checked the address in brackets
    try:
        host.encode("idna")
    except UnicodeError:
        return False
    return re.fullmatch(r"[\w.-]+", host) is not None
