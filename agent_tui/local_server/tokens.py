"""The token that an assignment carries, with which the agent joins its room."""

from typing import Any, Final

from agent_tui.model import signing

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
    """A token signed with the worker's own key, with exactly the claims of worker-protocol §7.

    `answer` is the worker's AvailabilityResponse, `permissions` its ParticipantPermission, `now` Unix
    seconds. An empty identity is passed on: joining with it is what fails.
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
