"""Blocked event loops: reported once with their place, and where a hang is found."""

import pytest

from agent_tui.model import child as ch
from agent_tui.model.events import ProcessBlocked
from agent_tui.processes.process import ProcessFailed, innermost, place
from tests.fakes.scripted_child import Nursery, ScriptedChild, until
from tests.processes.test_process import Run

STACKS = """Thread MainThread:
  File "/opt/x/agent_tui/child/python/main.py", line 3, in main
    run()
  File "/home/u/agent.py", line 12, in entry
    crunch()
  File "/usr/lib/python3.12/json/decoder.py", line 340, in decode
    obj, end = self.raw_decode(s)

Thread worker:
  File "/home/u/other.py", line 1, in wait
    pass
"""


def test_the_users_innermost_line_is_the_place() -> None:
    assert innermost(STACKS) == ("/home/u/agent.py", 12, "entry")
    assert place(STACKS) == "agent.py:12 in entry"


def test_without_lines_of_the_users_own_it_is_the_librarys() -> None:
    text = 'Thread MainThread:\n  File "/usr/lib/python3.12/selectors.py", line 4, in select\n    x\n\n'
    assert place(text) == "selectors.py:4 in select"


def test_unknown_places_stay_empty() -> None:
    assert place("") == place("Thread worker:\n") == place("Thread MainThread:\n\n") == ""


async def test_a_blocked_loop_is_reported_once_with_its_place() -> None:
    run = Run(Nursery())
    await run.process.ready
    run.child.answers = lambda child, message: (
        child.say(ch.Stacks(STACKS)) if isinstance(message, ch.DumpStacks) else None
    )
    await until(lambda: blocked(run))
    end = await run.end()
    (told,) = blocked(run)
    assert (told.where, told.stacks, told.process_id) == ("agent.py:12 in entry", STACKS, run.process.id)
    assert "its event loop is blocked, at agent.py:12 in entry" in end.reason


async def test_a_prewarm_that_hangs_fails_with_its_place() -> None:
    def answers(child: ScriptedChild, message: ch.ToChild) -> None:
        if isinstance(message, ch.DumpStacks):
            child.say(ch.Stacks(STACKS))

    def prepare(child: ScriptedChild) -> None:
        child.say(ch.Loading())
        child.answers = answers

    run = Run(Nursery(prepare))
    with pytest.raises(ProcessFailed, match=r"it was at agent.py:12 in entry") as raised:
        await run.process.ready
    failure = raised.value.failure
    assert failure is not None
    assert (failure.file, failure.line, failure.traceback) == ("/home/u/agent.py", 12, STACKS)
    assert (await run.end()).killed


async def test_a_child_that_reports_no_stacks_delays_nothing() -> None:
    run = Run(Nursery())
    await run.process.ready
    assert await run.process.stacks() == ""
    run.process.shutdown("done")
    await run.end()
    assert await run.process.stacks() == ""


def blocked(run: Run) -> list[ProcessBlocked]:
    return [event for event in run.events if isinstance(event, ProcessBlocked)]
