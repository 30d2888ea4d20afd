"""The server's own API (rooms and dispatches), through livekit-api."""

import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import aiohttp

from agent_tui.model.signing import sign
from agent_tui.worker.urls import ServerAddress

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from livekit.api import LiveKitAPI

TOKEN_LIFE_S = 600


@asynccontextmanager
async def server_api(address: ServerAddress, room: str, limit_s: float) -> "AsyncIterator[LiveKitAPI]":
    """A client that may create, list and delete rooms, and dispatch into that one.

    The token is made here: livekit-api warns about a development server's short secret.
    """
    from livekit import api  # loads all services: half a second that a start without test jobs can save

    video = {"roomCreate": True, "roomList": True, "roomAdmin": True, "room": room}
    claims = {"iss": address.api_key, "exp": int(time.time()) + TOKEN_LIFE_S, "video": video}
    client = api.LiveKitAPI.with_token(
        sign(claims, address.api_secret),
        address.url,
        timeout=aiohttp.ClientTimeout(total=limit_s),
        failover=False,
    )
    try:
        yield client
    finally:
        await client.aclose()
