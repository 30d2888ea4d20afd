"""Reports once, instead of in each test, against which servers the suite ran."""

import pytest

from .conftest import HAS_REAL


def test_the_suite_ran_against_a_real_server_too() -> None:
    if not HAS_REAL:
        pytest.skip("no real server: set LIVEKIT_SERVER_URL or put livekit-server on PATH")
