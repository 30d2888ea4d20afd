"""The guards that both front ends share."""

from agent_tui.model.events import ServerChosen


def remote_refusal(server: ServerChosen, confirmed_host: str, what: str) -> str | None:
    """Why this may not be done on that server, or None when it may.

    On a server that is not on this machine other people may be served: nothing is dispatched there unless
    its host was named.
    """
    if not server.remote or confirmed_host.strip().lower() == server.host.lower():
        return None
    if confirmed_host:
        return f"{what} on {server.host} was not done: {confirmed_host!r} was confirmed, not {server.host!r}"
    return f"{what} on the remote server {server.host} needs its name: --allow-remote {server.host}"
