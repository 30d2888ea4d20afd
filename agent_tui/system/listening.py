"""Opens listening sockets. This module imports no web server, because that import would delay the start."""

import asyncio
import contextlib
import errno
import socket

from agent_tui.model.errors import PortBusyError, UserError

MAX_PORT = 65535


async def listen(host: str, port: int) -> list[socket.socket]:
    """Return one listening socket for each address of `host`; with port 0 all share one free port.

    Raise PortBusyError if another program uses the port, and UserError if the address or port is unusable.
    """
    if not 0 <= port <= MAX_PORT:
        raise UserError(f"port {port} is out of range: use --port 1 to {MAX_PORT}, or 0 to pick a free port")
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
                listening = socket.create_server((address[0], chosen, *address[2:]), family=family)
            except OSError as error:
                failure = error
            else:
                sockets.append(opened.enter_context(listening))
        # A port that the user names must be free on every address of the host.
        if not sockets or (failure is not None and failure.errno == errno.EADDRINUSE and port):
            raise _cannot_listen(host, port, failure)
        opened.pop_all()
        return sockets


def busy(host: str, port: int, who: str) -> str:
    """Return the error message for a port on which `who` listens."""
    at = f"{host or '*'}:{port}"
    return f"{at} is in use by {who}: choose another with --port, or --port 0 to pick a free port"


def _cannot_listen(host: str, port: int, error: OSError | None) -> UserError:
    at = f"{host or '*'}:{port}"
    if error is not None and error.errno == errno.EADDRINUSE:
        return PortBusyError(busy(host, port, "another program"))
    return UserError(f"cannot listen on {at}: {error.strerror if error else 'no address'} (--host, --port)")
