"""The end of an engine whose parts fail: every step runs, and the first error is kept for the exit."""

import asyncio
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from agent_tui.engine.agent_code import AgentCode
from agent_tui.engine.config import RunConfig
from agent_tui.engine.dispatches import Dispatches
from agent_tui.engine.endpoint import Endpoint
from agent_tui.engine.engine import Engine
from agent_tui.engine.registrar import Registrar
from agent_tui.engine.supervision import InternalErrors, Patience
from agent_tui.generations.reloader import Reloader
from agent_tui.jobs.manager import JobManager
from agent_tui.local_server.server import LocalServer
from agent_tui.logs.intake import LogIntake
from agent_tui.logs.store import LogAnnouncer
from agent_tui.model import events as ev
from agent_tui.model.commands import Stop
from agent_tui.model.errors import InternalError
from agent_tui.options.envfiles import Environment
from agent_tui.options.resolve import SourcedValue
from agent_tui.processes.memory import MemorySampler
from agent_tui.processes.pool import Pool
from agent_tui.runtimes.interpreter import Interpreter
from tests.fakes.engine import FakeEngine
from tests.fakes.scripted_child import until

STEPS: list[tuple[type[Any], str]] = [
    (Registrar, "drain"),
    (JobManager, "drain"),
    (AgentCode, "end_stock"),
    (JobManager, "close"),
    (Pool, "close"),
    (Dispatches, "close"),
    (Registrar, "close"),
    (AgentCode, "close"),
    (Endpoint, "close"),
    (LocalServer, "close"),
    (LogIntake, "close"),
    (LogAnnouncer, "close"),
]
"""The steps of an end without processes."""


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Engine:
    """Return a complete engine that loads no file."""

    async def rest(self: object) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(Reloader, "run", rest)
    config = RunConfig(
        agent=tmp_path / "agent.py",
        cwd=tmp_path,
        read_environment=lambda: Environment({}, (), ()),
        runtime="native",
        interpreter=Interpreter(Path(sys.executable), "3.12", "that of the test", ()),
        flags={"port": SourcedValue("0", "--port")},
        local=True,
        watch=False,
    )
    return Engine(config)


def breaks(owner: type[Any], name: str, done: list[str], error: Exception | None) -> Callable[..., Any]:
    """Return a method that records its call and then may fail."""
    method = getattr(owner, name)

    async def awaited(result: Any) -> None:
        await result
        if error is not None:
            raise error

    def broken(self: object, *arguments: object) -> Any:
        done.append(f"{owner.__name__}.{name}")
        result = method(self, *arguments)
        if asyncio.iscoroutine(result):
            return awaited(result)
        if error is not None:
            raise error
        return result

    return broken


@pytest.mark.parametrize("broken", STEPS)
async def test_a_failed_step_does_not_stop_the_others(
    broken: tuple[type[Any], str], engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    for owner, name in STEPS:
        error = RuntimeError("it broke") if (owner, name) == broken else None
        monkeypatch.setattr(owner, name, breaks(owner, name, done, error))
    stream = engine.subscribe()
    with pytest.raises(InternalError, match=": RuntimeError: it broke"):
        async with engine:
            assert (await engine.send(Stop("enough"))).ok
    assert set(done) == {f"{owner.__name__}.{name}" for owner, name in STEPS}
    # No process is started for a later load while jobs end, which may take long.
    assert done.index("AgentCode.end_stock") < done.index("JobManager.close")
    told = [stamped.event async for batch in stream.batches() for stamped in batch]  # the stream ends
    assert told[-1] == ev.Stopped("enough")
    assert any("it broke" in event.text for event in told if isinstance(event, ev.Notice))


async def test_a_part_that_fails_once_is_restarted_and_ends_nothing(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[object] = []

    async def fails_once(self: object) -> None:
        started.append(self)
        if len(started) == 1:
            raise OSError(24, "Too many open files", "/proc")
        await asyncio.Event().wait()

    monkeypatch.setattr(MemorySampler, "run", fails_once)
    monkeypatch.setattr(Patience, "pause_s", lambda *_: 0.0)
    stream = engine.subscribe()
    async with engine:
        await until(lambda: len(started) == 2)
        assert started[0] is started[1]
    told = [stamped.event async for batch in stream.batches() for stamped in batch]
    assert any("(memory): OSError" in each.text for each in told if isinstance(each, ev.Notice))


async def test_a_part_that_keeps_failing_ends_the_run_with_its_error(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def dies(self: object) -> None:
        raise RuntimeError("no pool")

    monkeypatch.setattr(Pool, "run", dies)
    monkeypatch.setattr(Patience, "pause_s", lambda *_: 0.0)
    stream = engine.subscribe()
    with pytest.raises(InternalError, match=r"\(pool\): RuntimeError: no pool") as caught:
        async with engine:
            told = [stamped.event async for batch in stream.batches() for stamped in batch]
    assert caught.value.exit_code == 1
    assert isinstance(told[-1], ev.Stopped)


async def test_an_error_of_the_body_is_raised(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(JobManager, "close", breaks(JobManager, "close", [], RuntimeError("it broke")))
    with pytest.raises(LookupError):
        async with engine:
            raise LookupError("of the body")


async def test_internal_errors_keep_the_first_and_report_all() -> None:
    engine = FakeEngine()
    stream = engine.subscribe()
    errors = InternalErrors(engine.bus.publish)

    async def good() -> None: ...

    async def bad() -> None:
        raise ValueError("one")

    await errors.gather(good=good(), bad=bad())
    with errors.caught("other"):
        raise KeyError("two")
    assert str(errors.first) == "internal error (bad): ValueError: one"
    engine.bus.close()
    told = [stamped.event async for batch in stream.batches() for stamped in batch]
    assert [event.text for event in told if isinstance(event, ev.Notice)] == [
        "internal error (bad): ValueError: one",
        "internal error (other): KeyError: 'two'",
    ]


async def test_an_error_that_cannot_be_reported_is_kept() -> None:
    def mute(event: object) -> None:
        raise OSError("mute")

    errors = InternalErrors(mute)
    with errors.caught("part"):
        raise ValueError("one")
    assert "one" in str(errors.first)
