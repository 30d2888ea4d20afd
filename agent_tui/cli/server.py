"""`agent-tui server`: run the embedded server by itself."""

import asyncio
import contextlib
import json

import click

from agent_tui.cli.flags import of_kind
from agent_tui.cli.help import CONTEXT
from agent_tui.cli.signals import StopSignals
from agent_tui.model.errors import UserError
from agent_tui.options import kinds


@click.command(context_settings=CONTEXT)
@click.option(
    "--host",
    metavar="TEXT",
    callback=of_kind(kinds.text("an address of this machine", empty=False)),
    default="127.0.0.1",
    show_default=True,
    help="Address to listen on.",
)
@click.option(
    "--port",
    metavar="N",
    callback=of_kind(kinds.integer(0, 65_535, " (0 picks a free port)")),
    default="7880",
    show_default=True,
    help="Port to listen on. 0: any free port.",
)
@click.option(
    "--api-key",
    metavar="TEXT",
    callback=of_kind(kinds.secret("the API key for workers")),
    default=None,
    help="API key for workers. Default: a random one.",
)
@click.option(
    "--api-secret",
    metavar="TEXT",
    callback=of_kind(kinds.secret("the API secret for the API key")),
    default=None,
    help="API secret for the API key. Default: a random one.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per line on stdout.")
def server(host: str, port: int, api_key: str | None, api_secret: str | None, as_json: bool) -> int:
    """Run the embedded LiveKit server by itself: workers, rooms, and dispatches, without media."""
    if (api_key is None) != (api_secret is None):
        raise UserError("--api-key and --api-secret belong together; give both or neither")
    keys = {api_key: api_secret} if api_key and api_secret else None
    return asyncio.run(_serve(host, port, keys, as_json))


async def _serve(host: str, port: int, keys: dict[str, str] | None, as_json: bool) -> int:
    from agent_tui.local_server.server import LocalServer
    from agent_tui.system.descriptors import DESCRIPTORS

    DESCRIPTORS.raise_limit()
    ended = asyncio.Event()

    async def stop(_reason: str, _kill: bool) -> None:
        ended.set()

    def unassigned(job: object, why: object) -> None:
        room, text = job.room.name, why.text  # type: ignore[attr-defined]
        with contextlib.suppress(OSError):  # the reader is gone; the server keeps running
            _print(as_json, "job_lost", f"no job for {room}: {text}", room=room, why=text)

    running = LocalServer(host=host, port=port, keys=keys, on_unassigned=unassigned)
    with StopSignals(stop) as signals:
        async with running:
            words = (
                f"listening at {running.url}\n"
                f"  export LIVEKIT_URL={running.url}\n"
                f"  export LIVEKIT_API_KEY={running.api_key}\n"
                f"  export LIVEKIT_API_SECRET={running.api_secret}"
            )
            facts = {"url": running.url, "api_key": running.api_key, "api_secret": running.api_secret}
            _print(as_json, "listening", words, **facts)
            await ended.wait()
        return signals.exit_code or 0


def _print(as_json: bool, event: str, words: str, **facts: object) -> None:
    print(json.dumps({"event": event, **facts}) if as_json else words, flush=True)
