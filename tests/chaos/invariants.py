"""The invariants that must hold once everything is at rest, whatever faults there were."""

from collections import Counter

import psutil

from agent_tui.engine.servers import server_api
from tests.chaos.agent_source import SOURCE
from tests.chaos.rig import IDLE, Chaos


async def at_rest(under: Chaos) -> None:
    """Wait until all jobs have ended and the wanted number of processes is idle on the newest code."""
    await under.saved()
    under.edit(numIdleProcesses=IDLE)
    await under.until(lambda: not under.open and not under.pids("job", "job"), "the ends of all jobs")
    await under.warm()
    await under.healthy()


def accepted(under: Chaos) -> set[str]:
    return {job for job, event in under.answers.items() if event["accepted"]}


def ends(under: Chaos) -> dict[str, list[str]]:
    """Return each end that was reported, by job."""
    found: dict[str, list[str]] = {}
    for event in under.events["job_ended"]:
        found.setdefault(event["job_id"], []).append(event["status"])
    for event in under.events["job_lost"]:
        if event["job_id"]:
            found.setdefault(event["job_id"], []).append("lost")
    return found


def summary(under: Chaos) -> str:
    count = Counter(end for each in ends(under).values() for end in each)
    offered = sum(room in under.offers for room in under.dispatched)
    return (
        f"{len(under.dispatched)} rooms, {offered} offered, {len(accepted(under))} accepted, "
        f"jobs {dict(sorted(count.items()))}"
    )


def every_offer_has_an_answer(under: Chaos) -> None:
    """Check that every offer has an answer, or a reported reason why it has none."""
    explained = under.answers.keys() | {event["job_id"] for event in under.events["job_lost"]}
    assert [room for room, job in under.offers.items() if job not in explained] == []


def every_accepted_job_has_one_end(under: Chaos) -> None:
    found = ends(under)
    wrong = {job: found.get(job, []) for job in accepted(under) if len(found.get(job, [])) != 1}
    assert wrong == {}, f"ends by job: {wrong}"
    assert all(event["why"] for event in under.events["job_lost"])


def ends_are_those_that_jobs_reported(under: Chaos) -> None:
    """Check that jobs ended as reported, unless a fault ended the process after the job's last line."""
    wrong = []
    for event in under.events["job_ended"]:
        room, status = event["room"], event["status"]
        wanted = under.must_end.get(room)
        if wanted is None and (room, "end") in under.said and event["pid"] not in under.harmed:
            wanted = "success"
        if wanted is not None and status != wanted:
            wrong.append((room, wanted, status, event["reason"], event["ended_by"]))
    assert wrong == []


def no_job_saw_two_versions(under: Chaos) -> None:
    assert [each for each in under.said.items() if len(set(each[1])) != 1] == []


def no_internal_errors(under: Chaos) -> None:
    own = [event["text"] for event in under.events["log"] if event["source"] == "agent-tui"]
    assert [text for text in own if "internal error" in text] == []


def what_is_reported_is_what_runs(under: Chaos) -> None:
    """Check that the processes that run according to the events are those that the kernel knows."""
    reported = {event["pid"] for event in under.processes.values() if event["state"] != "ended"}
    children = {child.pid: str(child) for child in psutil.Process(under.pid).children(recursive=True)}
    running = children.keys()
    known = reported | {*under.guards()}
    assert known <= running
    assert [child for pid, child in children.items() if pid not in known] == []
    assert len(under.guards()) == 1
    assert len(running) <= IDLE + SOURCE.others


async def the_server_has_the_worker_that_is_reported(under: Chaos) -> None:
    """Check that the server offers a job to the registration that was reported last."""
    room = await under.dispatch("short")
    await under.until(lambda: under.answer(room), f"{room} is offered", 10)
    async with server_api(under.address, room, 5) as client:
        (dispatch,) = await client.agent_dispatch.list_dispatch(room)
    worker = under.events["registered"][-1]["worker_id"]
    assert [job.state.worker_id for job in dispatch.state.jobs] == [worker]
