"""The worker page."""

from dataclasses import replace

import pytest

from agent_tui.model import events as ev
from agent_tui.model.settings import DEFAULTS
from agent_tui.tui.screens.worker import WorkerPage, worker_lines
from tests.fakes.engine import FakeEngine
from tests.tui import histories
from tests.tui.hostile import HOSTILE
from tests.tui.page_host import page_host, painted


def text(engine: FakeEngine, **options: object) -> str:
    lines = worker_lines(engine.bus.state, replace(DEFAULTS.options, **options), engine.clock.time())  # type: ignore[arg-type]
    return "\n".join("".join(span.text for span in line) for line in lines)


def test_a_registration_with_its_server_and_its_last_loss() -> None:
    engine = FakeEngine()
    histories.busy(engine)
    engine.publish(
        ev.WorkerDisconnected("the server dropped the connection", 1.0, 1),
        ev.WorkerDisconnected("nothing is listening", 2.0, 2),
        ev.WorkerRegistered("AW_2", "ws://x", ev.ServerKind.FOUND, "1.13.5", "", "eu", "ND_1"),
    )
    shown = text(engine)
    for wanted in (
        "● registered",
        "AW_2",
        "local 1.13.5",
        "eu, node ND_1",
        "1, last lost at",
        "the server dropped the connection",
    ):
        assert wanted in shown
    assert "nothing is listening" not in shown


def test_what_a_deployment_means_and_what_its_absence_means() -> None:
    engine = FakeEngine()
    histories.idle(engine, histories.REMOTE)
    assert "a playground arrive only if they name it too" in text(engine)
    remote = histories.REMOTE
    engine.publish(ev.WorkerRegistered("AW_2", remote.url, remote.kind, "1.13.5", ""))
    assert "▲ no deployment at my.livekit.cloud: production calls can arrive here" in text(engine)
    engine.publish(
        ev.WorkerRegistered(
            "AW_3", remote.url, remote.kind, "1.11.0", "", deployment="ann", knows_deployments=False
        )
    )
    assert "▲ my.livekit.cloud does not support deployments: production calls can arrive here" in text(engine)


@pytest.mark.parametrize(
    ("load", "options", "said"),
    [
        ((0.2, 0.0), {}, ""),
        ((0.9, 0.0), {"load_threshold": 0.8}, "the load is above loadThreshold"),
        ((0.75, 0.75), {"load_threshold": 0.9}, "the server skips workers that report a load of 0.7 or more"),
    ],
)
def test_why_there_are_no_offers(load: tuple[float, float], options: dict[str, object], said: str) -> None:
    engine = FakeEngine()
    histories.idle(engine)
    engine.publish(ev.WorkerLoadMeasured(*load))
    shown = text(engine, **options)
    assert ("no offers now" in shown) == bool(said)
    assert said in shown


def test_after_repeated_failures_no_offers_are_accepted() -> None:
    engine = FakeEngine()
    histories.idle(engine)
    engine.publish(ev.StartsFailing(1, 3, "OSError: no model", 4.0, accepting=True))
    assert "no offers now" not in text(engine)
    assert "· none now" not in text(engine)
    engine.publish(ev.StartsFailing(1, 5, "OSError: no model", 4.0, accepting=False))
    engine.publish(ev.WorkerLoadMeasured(1.0, 1.0))  # it reports that it is full
    shown = text(engine)
    assert "▲ no offers now: job processes fail to start: OSError: no model" in shown
    assert shown.count("no offers now") == 1, "the reported load is no other cause"
    assert "in every new room (no agentName) · none now" in shown
    assert "never full" not in shown


def test_while_stopping_the_worker_page_says_why_no_offers_come() -> None:
    engine = FakeEngine()
    histories.busy(engine)
    engine.publish(ev.Stopping("quit", 2, 60.0))
    assert "no offers now: agent-tui is stopping: quit" in text(engine)


async def test_the_page_follows_the_state_and_shows_hostile_text_as_text() -> None:
    engine = FakeEngine()
    histories.idle(engine)
    async with page_host(engine, "i") as (app, pilot):
        assert isinstance(app.screen, WorkerPage)
        engine.publish(ev.WorkerDisconnected(HOSTILE, 1.0, 1))
        await painted(app, engine, pilot)
        assert "not registered" in str(app.screen.query_one("#page-box Static").render())
        assert "\x1b" not in app.export_screenshot()
        await pilot.press("i")
        await pilot.pause()
        assert not isinstance(app.screen, WorkerPage)
