"""Authorization: the check of a request's token, and the server's own words for each refusal."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import jwt

from agent_tui.model import signing

_BEARER: Final = "Bearer "
_LEEWAY_S: Final = 60

NO_PERMISSION: Final = "no permissions to access the room"
NOT_BEARER: Final = "invalid authorization header. Must start with Bearer "
BAD_TOKEN: Final = "invalid authorization token"
UNKNOWN_KEY: Final = "invalid API key"


class UnauthorizedError(Exception):
    """The token is refused: HTTP 401 with this text as the plain body (worker-protocol §2)."""


@dataclass(frozen=True, slots=True)
class Grants:
    """What a verified token allows. Without a token everything is empty and nothing is allowed."""

    api_key: str = ""
    video: Mapping[str, Any] = field(default_factory=dict)

    @property
    def agent(self) -> bool:
        """Whether the token allows registering as a worker (`video.agent`, not a top-level `agent` claim)."""
        return self.video.get("agent") is True

    @property
    def create_rooms(self) -> bool:
        return self.video.get("roomCreate") is True

    @property
    def list_rooms(self) -> bool:
        return self.video.get("roomList") is True

    def administers(self, room: str) -> bool:
        """Return whether the token allows managing the dispatches of exactly this room."""
        return self.video.get("roomAdmin") is True and self.video.get("room", "") == room


def authenticate(
    header: str | None, query_token: str | None, keys: Mapping[str, str], *, now: float
) -> Grants:
    """Return the grants of the request's token.

    `query_token` is used only if there is no Authorization header; `now` is in Unix seconds. Raise
    `UnauthorizedError` if the token is not valid. A request without a token gets empty grants: the endpoint
    decides whether that is enough (worker-protocol §2, both 401 tables).
    """
    if header:
        if not header.startswith(_BEARER):
            raise UnauthorizedError(NOT_BEARER)
        token = header.removeprefix(_BEARER)
    else:
        token = query_token or ""
    return _verify(token, keys, now) if token else Grants()


def _verify(token: str, keys: Mapping[str, str], now: float) -> Grants:
    try:
        unverified = signing.read(token)
    except jwt.InvalidTokenError:
        raise UnauthorizedError(BAD_TOKEN) from None
    api_key = str(unverified.get("iss", ""))
    secret = keys.get(api_key, "")
    if not secret:
        raise UnauthorizedError(UNKNOWN_KEY)
    try:
        claims = signing.verify(token, secret)
        _check_times(claims, now)
    except jwt.InvalidTokenError as error:
        raise UnauthorizedError(f"{BAD_TOKEN}: {error}") from None
    video = claims.get("video")
    return Grants(api_key, video if isinstance(video, dict) else {})


def _check_times(claims: Mapping[str, Any], now: float) -> None:
    """Raise `jwt.InvalidTokenError` if the token has expired, is not valid yet, or has no expiry.

    The issue time is ignored (worker-protocol §2).
    """
    expires, begins = (_seconds(claims, name) for name in ("exp", "nbf"))
    if expires is None:
        raise jwt.MissingRequiredClaimError("exp")
    if now > expires + _LEEWAY_S:
        raise jwt.ExpiredSignatureError("Signature has expired")
    if begins is not None and now < begins - _LEEWAY_S:
        raise jwt.ImmatureSignatureError("The token is not yet valid (nbf)")


def _seconds(claims: Mapping[str, Any], name: str) -> float | None:
    value = claims.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise jwt.DecodeError(f"{name} must be a number")
    return float(value)


_VALID_S: Final = 3600
_NAME_ATTRIBUTE: Final = "lk.agent_name"


def job_token(
    *,
    api_key: str,
    secret: str,
    room: str,
    agent_name: str,
    answer: Any,
    permissions: Any,
    now: float,
) -> str:
    """Return a token signed with the worker's key, with exactly the claims of worker-protocol §7.

    `answer` is the worker's AvailabilityResponse, `permissions` its ParticipantPermission, `now` in Unix
    seconds. An empty identity is passed on: joining with it fails.
    """
    attributes = {**answer.participant_attributes, _NAME_ATTRIBUTE: agent_name}
    issued = int(now)
    claims: dict[str, Any] = {
        "iss": api_key,
        "iat": issued,
        "nbf": issued,
        "exp": issued + _VALID_S,
        "kind": "agent",
        "attributes": attributes,
        "video": _video(room, permissions),
    }
    optional = {
        "sub": answer.participant_identity,
        "identity": answer.participant_identity,
        "name": answer.participant_name,
        "metadata": answer.participant_metadata,
    }
    claims.update({name: value for name, value in optional.items() if value})
    return signing.sign(claims, secret)


def _video(room: str, permissions: Any) -> dict[str, Any]:
    video: dict[str, Any] = {
        "roomJoin": True,
        "room": room,
        "agent": True,
        "canPublish": permissions.can_publish,
        "canSubscribe": permissions.can_subscribe,
        "canPublishData": permissions.can_publish_data,
        "canUpdateOwnMetadata": permissions.can_update_metadata,
        "canSubscribeMetrics": permissions.can_subscribe_metrics,
    }
    if permissions.hidden:
        video["hidden"] = True
    return video
