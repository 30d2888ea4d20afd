"""A job and its token as text: what the server sent, without secrets."""

import base64
import json
import time
from collections.abc import Callable
from typing import Any

from google.protobuf.json_format import MessageToDict

from agent_tui.jobs.record import JobRecord

MOST_KEPT = 200
"""Maximum number of ended jobs whose description is kept. The oldest are dropped first."""

MAX_KEPT = 16_384
"""Maximum characters of a description."""

HIDDEN = "•••"
SECRETS = frozenset({"token", "turn_password"})
"""Fields of a job, at any depth, whose values are credentials."""


class Descriptions:
    """Keeps the descriptions of the most recently ended jobs."""

    def __init__(self, clean: Callable[[str, int], str]) -> None:
        """`clean(text, limit)` masks secrets and shortens the text to `limit` characters."""
        self._clean = clean
        self._past: dict[str, str] = {}

    def keep(self, record: JobRecord) -> None:
        """Store the job's current description."""
        self._past.pop(record.id, None)
        self._past[record.id] = self._clean(describe(record), MAX_KEPT)
        while len(self._past) > MOST_KEPT:
            del self._past[next(iter(self._past))]

    def of_ended(self, job_id: str) -> str | None:
        """Return the description of an ended job, or None if it is unknown."""
        return self._past.get(job_id)


def describe(record: JobRecord) -> str:
    """Return the text of the "Job and token" tab: token, assignment (server and worker ID), and the job as
    JSON.
    """
    job = _masked(MessageToDict(record.job, preserving_proto_field_name=True))
    return "\n".join(
        [
            "Token",
            *_indented(describe_token(record.token)),
            "",
            "Assignment",
            f"  server  {record.url or 'not assigned yet'}",
            f"  worker  {record.worker_id or 'not assigned yet'}",
            "",
            "Job",
            *_indented(_pretty(job)),
        ]
    )


def describe_token(token: str) -> str:
    """Return the header and claims of a JSON Web Token, without its signature."""
    if not token:
        return "none yet: the server sends it with the assignment"
    try:
        header, claims = (_decoded(part) for part in token.split(".")[:2])
    except ValueError:  # not base64, not UTF-8, not JSON, not two parts
        return "not shown: not a JSON Web Token"
    lines = [f"header     {json.dumps(header, ensure_ascii=False)}", f"signature  {HIDDEN}"]
    lines += [f"{name:<9}  {_local_time(claims[key])}" for key, name in _MOMENTS.items() if key in claims]
    return "\n".join([*lines, "claims", *_indented(_pretty(_masked(claims)))])


_MOMENTS = {"nbf": "from", "exp": "until"}


def _decoded(part: str) -> dict[str, Any]:
    try:
        found = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    except RecursionError as error:
        raise ValueError(str(error)) from error
    if not isinstance(found, dict):
        raise ValueError("not an object")
    return found


def _local_time(at: object) -> str:
    try:
        return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(float(str(at))))
    except (ValueError, OverflowError, OSError):
        return "invalid time"


def _masked(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: HIDDEN if key in SECRETS else _masked(each) for key, each in value.items()}
    return [_masked(each) for each in value] if isinstance(value, list) else value


def _pretty(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, indent=2)


def _indented(text: str) -> list[str]:
    return [f"  {line}" for line in text.split("\n")]
