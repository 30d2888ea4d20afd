"""JWTs signed with HS256, without PyJWT's complaint about short secrets: `secret` is what everybody's
development server uses, and the server takes it (worker-protocol §12)."""

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

import jwt
from jwt.types import Options

_SIGNATURE_ONLY: Final[Options] = {
    "verify_aud": False,
    "verify_exp": False,
    "verify_iat": False,
    "verify_jti": False,
    "verify_nbf": False,
    "verify_sub": False,
}


def sign(claims: Mapping[str, Any], secret: str) -> str:
    with _any_secret():
        return jwt.encode(dict(claims), secret, algorithm="HS256")


def read(token: str) -> Mapping[str, Any]:
    """The claims, unverified. Raises `jwt.InvalidTokenError` for what is no JWT."""
    claims: dict[str, Any] = jwt.decode(token, options={"verify_signature": False})
    return claims


def verify(token: str, secret: str) -> Mapping[str, Any]:
    """The claims, with only the signature verified. Raises `jwt.InvalidTokenError`."""
    with _any_secret():
        claims: dict[str, Any] = jwt.decode(token, secret, algorithms=["HS256"], options=_SIGNATURE_ONLY)
    return claims


@contextmanager
def _any_secret() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", jwt.InsecureKeyLengthWarning)
        yield
