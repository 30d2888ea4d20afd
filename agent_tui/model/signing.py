"""JSON web tokens of LiveKit: HS256, signed with an API secret (worker-protocol §2, §7).

Short secrets are accepted without PyJWT's warning, because development servers use `secret` (worker-protocol
§12).
"""

import contextlib
import json
from collections.abc import Mapping
from typing import Any

import jwt
from jwt.algorithms import HMACAlgorithm
from jwt.api_jws import PyJWS


class _AnyKeyLength(HMACAlgorithm):
    def check_key_length(self, key: bytes) -> str | None:
        return None


_HS256 = PyJWS()
_HS256.unregister_algorithm("HS256")
_HS256.register_algorithm("HS256", _AnyKeyLength(HMACAlgorithm.SHA256))


def sign(claims: Mapping[str, Any], secret: str) -> str:
    """Return a token with these claims."""
    return _HS256.encode(json.dumps(claims).encode(), secret.encode(), algorithm="HS256")


def read(token: str) -> Mapping[str, Any]:
    """Return the claims, unverified. Raises `jwt.InvalidTokenError` for text that is not a JWT."""
    claims: dict[str, Any] = jwt.decode(token, options={"verify_signature": False})
    return claims


def verify(token: str, secret: str) -> Mapping[str, Any]:
    """Return the claims after checking the signature, and nothing else: the token may have expired.

    Raise `jwt.InvalidTokenError` if the signature is wrong or the text is not a JWT.
    """
    payload = _HS256.decode(token, secret.encode(), algorithms=["HS256"])
    try:
        claims = json.loads(payload)
    except ValueError as error:
        raise jwt.DecodeError(f"Invalid payload string: {error}") from None
    if not isinstance(claims, dict):
        raise jwt.DecodeError("Invalid payload string: must be a json object")
    return claims


RENEWED_FOR_S = 3600
"""The validity of a job's token, as on the server (worker-protocol §7)."""

RENEW_BEFORE_S = 120.0


def renewed(token: str, secret: str, now: float) -> str:
    """Return the token, or, if it has (almost) expired, one with the same claims for another hour.

    `now` is in Unix seconds. Without a secret, or for text that is not a JWT, the token is returned
    unchanged.
    """
    with contextlib.suppress(jwt.InvalidTokenError):
        claims = dict(read(token)) if secret else {}
        if isinstance(expires := claims.get("exp"), (int, float)) and expires - now < RENEW_BEFORE_S:
            return sign({**claims, "nbf": int(now), "exp": int(now) + RENEWED_FOR_S}, secret)
    return token
