"""One history of events: what the screen holds in the end is what headless has told."""

import asyncio
from typing import Any

import pytest

from agent_tui.engine.bus import Bus
from agent_tui.headless import jsonl
from agent_tui.model import events as ev
from agent_tui.model.reduce import reduce
from agent_tui.model.state import AppState
from agent_tui.tui.bridge import Bridge
from tests.fakes.clock import FakeClock
from tests.fakes.engine import FakeEngine
from tests.tui import histories


def recorded(name: str) -> list[ev.Stamped]:
    """A history as a subscriber from the first event on gets it."""
    engine = FakeEngine()
    stream = engine.subscribe()
    histories.ALL[name](engine)
    return list(stream._waiting)


def lines_of(history: list[ev.Stamped]) -> list[dict[str, Any]]:
    """What `--json` says of it."""
    return [body for each in history if (body := jsonl.event(each.event)) is not None]


def told(lines: list[dict[str, Any]]) -> dict[str, Any]:
    """The end of it, put together from the public lines alone, as somebody's script would."""
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
    """The same of the state that the screen draws."""
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
@pytest.mark.parametrize("limit", [10_000, 7])
async def test_the_screen_ends_where_headless_does_also_when_it_lags(name: str, limit: int) -> None:
    history = recorded(name)
    bus = Bus(FakeClock())
    bridge = Bridge(lambda: bus.subscribe(limit))
    following = asyncio.create_task(bridge.run())
    for number, stamped in enumerate(history):
        bus.publish(stamped.event)
        if number % 11 == 0:
            await asyncio.sleep(0)
    await asyncio.sleep(0)
    bus.close()
    await following
    assert (bridge.resynced > 0) == (limit < len(history) and len(history) > 11)
    state = AppState()
    for stamped in history:
        state = reduce(state, stamped)
    assert shown(bridge.state) == shown(state)
    assert told(lines_of(history)) | {"ended": sorted(told(lines_of(history))["ended"])} == shown(state) | {
        "ended": sorted(shown(state)["ended"])
    }
