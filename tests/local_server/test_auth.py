"""Tokens at the limits of their time, and invalid ones."""

import base64
import json
from typing import Any

import pytest

from agent_tui.local_server.auth import BAD_TOKEN, Grants, UnauthorizedError, authenticate
from agent_tui.model.signing import sign

NOW = 1_800_000_000.0
KEYS = {"devkey": "secret", "other": "another secret that is long enough"}


def _check(claims: dict[str, Any], secret: str = "secret") -> Grants:
    token = sign({"iss": "devkey", "exp": NOW + 1, "video": {"agent": True}, **claims}, secret)
    return authenticate(f"Bearer {token}", None, KEYS, now=NOW)


def test_a_good_token() -> None:
    assert _check({}) == Grants("devkey", {"agent": True})
    assert _check({"iss": "other"}, KEYS["other"]).api_key == "other"


@pytest.mark.parametrize(
    ("claims", "good"),
    [
        ({"exp": NOW - 60}, True),
        ({"exp": NOW - 61}, False),
        ({"exp": "soon"}, False),
        ({"exp": True}, False),
        ({"nbf": NOW + 60}, True),
        ({"nbf": NOW + 61}, False),
        ({"iat": NOW + 9999}, True),
        ({"sub": 5}, True),
        ({"aud": "somebody"}, True),
    ],
)
def test_times_and_other_claims(claims: dict[str, Any], good: bool) -> None:
    if good:
        assert _check(claims).agent
    else:
        with pytest.raises(UnauthorizedError, match=f"^{BAD_TOKEN}: "):
            _check(claims)


@pytest.mark.parametrize("video", [None, [], "x", {"agent": "true"}, {"agent": 1}])
def test_a_grant_is_true_and_nothing_else(video: Any) -> None:
    assert not _check({"video": video}).agent


def test_an_unsigned_token() -> None:
    def part(data: dict[str, Any]) -> str:
        return base64.urlsafe_b64encode(json.dumps(data).encode()).decode().rstrip("=")

    token = f"{part({'alg': 'none', 'typ': 'JWT'})}.{part({'iss': 'devkey', 'exp': NOW + 9})}."
    with pytest.raises(UnauthorizedError):
        authenticate(f"Bearer {token}", None, KEYS, now=NOW)


def test_administering_is_for_one_room() -> None:
    assert Grants("k", {"roomAdmin": True, "room": "r"}).administers("r")
    assert not Grants("k", {"roomAdmin": True, "room": "r"}).administers("other")
    assert not Grants("k", {"room": "r"}).administers("r")
