"""The same event history leads to the same result on the screen and in headless JSON."""

from typing import Any

import pytest

from agent_tui.headless import jsonl
from agent_tui.model import events as ev
from agent_tui.model.state import AppState
from tests.fakes.engine import FakeEngine
from tests.tui import histories


def lines_of(history: list[ev.Stamped]) -> list[dict[str, Any]]:
    """Return the lines of `--json`."""
    return [body for each in history if (body := jsonl.event(each.event)) is not None]


def told(lines: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the final state, computed from the public JSON lines alone, as a script would."""
    found: dict[str, Any] = {"processes": {}, "ended": [], "breaches": 0, "lost": 0}
    for line in lines:
        match line["event"]:
            case "registered":
                found["worker"] = line["worker_id"]
            case "disconnected" if "worker" in found:
                found["worker"] = ""
            case "generation_ready":
                found["generation"] = line["generation"]
            case "process":
                found["processes"][line["id"]] = line["state"]
            case "job_ended":
                found["ended"].append((line["job_id"], line["status"]))
            case "job_lost":
                found["lost"] += 1
            case "memory_warning" | "memory_limit":
                found["breaches"] += 1
    return found


def shown(state: AppState) -> dict[str, Any]:
    """Return the same from the state that the screen shows."""
    online = state.worker.state in ("registered", "suspect")
    found = {
        "processes": {process.id: process.state.value for process in state.processes.values()},
        "ended": [(job.id, job.status.value) for job in state.jobs.values() if job.status is not None],
        "breaches": len(state.breaches),
        "lost": state.totals.lost,
    }
    if state.worker.worker_id:
        found["worker"] = state.worker.worker_id if online else ""
    if state.generation.current:
        found["generation"] = state.generation.current
    return found


@pytest.mark.parametrize("name", histories.ALL)
async def test_the_screen_shows_what_headless_prints(name: str) -> None:
    engine = FakeEngine()
    stream = engine.subscribe()
    histories.ALL[name](engine)
    engine.bus.close()
    history = [stamped async for batch in stream.batches() for stamped in batch]
    printed, drawn = told(lines_of(history)), shown(engine.state)
    assert stream.state is engine.state
    assert printed | {"ended": sorted(printed["ended"])} == drawn | {"ended": sorted(drawn["ended"])}
