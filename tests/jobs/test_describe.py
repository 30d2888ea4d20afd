"""The description of a job: all that the server sent, and no credential."""

import base64
import json
import math
from typing import Any, cast

import pytest
from livekit.protocol.agent import Job
from livekit.protocol.models import Room

from agent_tui.jobs.describe import HIDDEN, MAX_KEPT, MOST_KEPT, Descriptions, describe, describe_token
from agent_tui.jobs.record import JobRecord

from .support import bench_of


def part(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


def token(**claims: object) -> str:
    return f"{part({'alg': 'HS256'})}.{part(claims)}.the-signature"


def record(job_id: str = "AJ_1", metadata: str = "") -> JobRecord:
    room = Room(name="demo", turn_password="swordfish")
    job = Job(id=job_id, room=room, metadata=metadata, agent_name="helpdesk")
    made = JobRecord(job, cast("Any", None), 1.0, 1, math.inf)
    made.token = token(sub="agent-x", video={"room": "demo", "roomJoin": True}, exp=1_764_000_000)
    return made


def test_a_description_has_the_job_and_claims_and_no_credentials() -> None:
    text = describe(record())
    for expected in (
        '"agent_name": "helpdesk"',
        '"name": "demo"',
        '"roomJoin": true',
        '"sub": "agent-x"',
        "HS256",
    ):
        assert expected in text
    assert f'"turn_password": "{HIDDEN}"' in text
    for secret in ("swordfish", "the-signature", record().token):
        assert secret not in text
    assert "2025-11-2" in text


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "none yet"),
        ("secret-word", "not a JSON Web Token"),
        ("a.b.c", "not a JSON Web Token"),
        ("é.é.é", "not a JSON Web Token"),
        (f"{part([1])}.{part({})}.x", "not a JSON Web Token"),
        (f"{part({})}.{base64.urlsafe_b64encode(b'[' * 100_000).decode()}.x", "not a JSON Web Token"),
        (token(exp="soon"), "invalid time"),
        (token(exp=1e300), "invalid time"),
        (token(nested=[{"token": "hunter2hunter2"}]), HIDDEN),
    ],
)
def test_any_token_is_described_without_showing_it(text: str, said: str) -> None:
    told = describe_token(text)
    assert said in told
    assert "secret-word" not in told
    assert "hunter2" not in told


def test_descriptions_of_ended_jobs_are_bounded() -> None:
    past = Descriptions(lambda text, limit: text[:limit])
    for number in range(MOST_KEPT + 5):
        past.keep(record(f"AJ_{number}", "m" * 100_000))
    assert past.of_ended("AJ_4") is None
    kept = past.of_ended("AJ_5")
    assert kept is not None
    assert len(kept) == MAX_KEPT
    assert "roomJoin" in kept


async def test_running_and_ended_jobs_are_described() -> None:
    async with bench_of() as bench:
        assert bench.manager.describe("AJ_1") is None
        child = await bench.run_job()
        assert '"name": "demo"' in (bench.manager.describe("AJ_1") or "")
        child.end()
        await bench.ended()
        await bench.manager.finished()
        assert '"name": "demo"' in (bench.manager.describe("AJ_1") or "")
