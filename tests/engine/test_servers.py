"""What a configured server needs before it is tried."""

from typing import Any

import pytest

from agent_tui.engine.servers import DEV_KEY, DEV_SECRET, configured, require_credentials
from agent_tui.model.errors import ServerError
from tests.engine.test_registrar import options

REMOTE = "wss://my.livekit.example"


@pytest.mark.parametrize(
    ("given", "lacks"),
    [
        ({}, "no API key"),
        ({"api_key": "k"}, "no API secret"),
        ({"worker_token": "t"}, "no API key"),  # it goes on the URL, beside a token that is signed as before
        ({"worker_token": "t", "api_key": "k"}, "no API secret"),
    ],
)
def test_what_is_missing_is_named(given: dict[str, Any], lacks: str) -> None:
    with pytest.raises(ServerError, match=lacks):
        require_credentials(options(ws_url=REMOTE, **given))


def test_a_worker_token_does_not_replace_the_keys_of_a_development_server() -> None:
    here = options(ws_url="ws://127.0.0.1:7880", worker_token="t")
    require_credentials(here)
    address = configured(here)
    assert (address.api_key, address.api_secret, address.worker_token) == (DEV_KEY, DEV_SECRET, "t")
