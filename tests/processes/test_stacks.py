"""Blocked event loops: reported once with their place, and where a hang is found."""

import pytest

from agent_tui.model import child as ch
from agent_tui.model.events import ProcessBlocked
from agent_tui.processes.process import ProcessFailed
from agent_tui.processes.stacks import innermost, place, slow_start
from tests.fakes.scripted_child import Nursery, ScriptedChild, until
from tests.processes.test_process import QUICK, Run

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


WAITS = """Thread MainThread:
  File "/opt/x/agent_tui/child/python/native_job.py", line 3, in run
    run()
  File "/usr/lib/python3.12/selectors.py", line 468, in select
    fd_event_list = self._selector.poll(timeout, max_ev)

Task Task-1:
Stack for <Task pending name='Task-1' coro=<_awaited() running at /opt/x/agent_tui/child/native_job.py:5>>:
  File "/opt/x/agent_tui/child/python/native_job.py", line 9, in _awaited
    return await value

Task Task-2:
Stack for <Task pending name='Task-2' coro=<prewarm() running at /home/u/agent.py:7>>:
  File "/home/u/agent.py", line 7, in prewarm
    await download()
"""


def test_while_the_loop_waits_the_place_is_where_a_task_of_the_project_waits() -> None:
    assert place(WAITS) == "agent.py:7 in prewarm"
    busy = WAITS.replace("/selectors.py", "/json/decoder.py")
    assert place(busy) == "decoder.py:468 in select"  # it does not wait there: a task is no cause


@pytest.mark.parametrize(
    ("stacks", "is_job", "text"),
    [
        (STACKS, True, "prewarm still running after 10 s at agent.py:12 in entry (initializeProcessTimeout)"),
        (WAITS, True, "prewarm still waiting after 10 s at agent.py:7 in prewarm (initializeProcessTimeout)"),
        (
            STACKS.replace("python/main.py", "python/loading.py"),
            True,
            "loading the file still running after 10 s at agent.py:12 in entry (initializeProcessTimeout)",
        ),
        ("", False, "loading the file still running after 10 s (initializeProcessTimeout)"),
        (
            "Thread MainThread:\n    (no JavaScript runs: the event loop waits)\n",
            True,
            "prewarm still waiting after 10 s (initializeProcessTimeout)",
        ),
    ],
)
def test_a_slow_start_says_what_still_runs_and_where(stacks: str, is_job: bool, text: str) -> None:
    assert slow_start(stacks, 10.0, is_job=is_job) == text


async def test_a_job_that_does_not_end_is_killed_with_its_place() -> None:
    run = Run(Nursery(), QUICK)
    await run.process.ready
    usual = run.child.answers

    def answers(child: ScriptedChild, message: ch.ToChild) -> None:
        if isinstance(message, ch.DumpStacks):
            child.say(ch.Stacks(STACKS))
        elif not isinstance(message, ch.Shutdown):
            usual(child, message)

    run.child.answers = answers
    run.process.shutdown("enough")
    end = await run.end()
    assert "of the request to end, at agent.py:12 in entry" in end.reason


async def test_a_blocked_loop_is_reported_once_with_its_place() -> None:
    run = Run(Nursery(), QUICK)
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

    run = Run(Nursery(prepare), QUICK)
    with pytest.raises(
        ProcessFailed, match=r"prewarm still running after .* at agent.py:12 in entry"
    ) as raised:
        await run.process.ready
    failure = raised.value.failure
    assert failure is not None
    assert (failure.file, failure.line, failure.traceback) == ("/home/u/agent.py", 12, STACKS)
    assert (await run.end()).killed


async def test_a_child_that_reports_no_stacks_delays_nothing() -> None:
    run = Run(Nursery(), QUICK)
    await run.process.ready
    assert await run.process.stacks() == ""
    run.process.shutdown("done")
    await run.end()
    assert await run.process.stacks() == ""


def blocked(run: Run) -> list[ProcessBlocked]:
    return [event for event in run.events if isinstance(event, ProcessBlocked)]
