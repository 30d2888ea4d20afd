"""The stacks of a process: tasks first, the project's frames bright, library frames folded."""

import asyncio
from pathlib import Path

import pytest

from agent_tui.child.python.process import stacks as child_stacks
from agent_tui.model import commands as cmd
from agent_tui.tui.app import AgentTuiApp
from agent_tui.tui.widgets.detail_text import Stacks, stacks_of
from agent_tui.tui.widgets.processes import entries
from agent_tui.tui.widgets.stack_rows import blocked_line, stack_lines, stacks_in, top_frame
from agent_tui.tui.widgets.text import Tone, width_of
from tests.fakes.engine import FakeEngine
from tests.fakes.scripted_child import until
from tests.tui import histories
from tests.tui.hostile import HOSTILE
from tests.tui.loads import text
from tests.tui.page_host import page_host

AGENT = "/home/ann/voice/agent.py"
BLOCKED = """Thread MainThread:
  File "/opt/x/agent_tui/child/python/native_job.py", line 3, in run
    run()
  File "/usr/lib/python3.12/asyncio/base_events.py", line 640, in run_until_complete
    self.run_forever()
  File "/home/ann/voice/agent.py", line 12, in entry
    load_menu()
  File "/home/ann/voice/menu/load.py", line 42, in load_menu
    time.sleep(4)

Task entry of [/x]:
  File "/home/ann/voice/agent.py", line 12, in entry
    load_menu()

Task Task-7:
  File "/home/ann/voice/agent.py", line 30, in listen
    await queue.get()
  File "/usr/lib/python3.12/asyncio/queues.py", line 158, in get
    await getter

Task Task-1:
  File "/opt/x/agent_tui/child/python/native_job.py", line 9, in _awaited
    return await value

"""
NODE = """Thread MainThread:
    at crunch (/home/ann/desk/src/agent.ts:31:9)
    at entry (/home/ann/desk/src/agent.ts:40:5)
    at run (/home/ann/desk/node_modules/@livekit/agents/dist/job.js:7:3)
"""


def lines(stacks: str, *, is_blocked: bool = False, width: int = 90) -> list[str]:
    return text(stack_lines(stacks, width, AGENT, is_blocked=is_blocked)).split("\n")


def test_tasks_come_first_and_those_of_the_project_before_the_others() -> None:
    shown = lines(BLOCKED)
    assert [line.split()[0] for line in shown if line and not line.startswith(" ")] == ["Tasks", "Threads"]
    assert [line.strip() for line in shown if line.startswith(("  ●", "  ○"))] == [
        "● entry of [/x]",
        "● Task-7  awaits queues.py:158 get",
        "○ Task-1  awaits native_job.py:9 _awaited",
        "● main thread",
    ]


def test_frames_of_the_project_are_bright_and_those_of_libraries_are_counted() -> None:
    shown = stack_lines(BLOCKED, 90, AGENT, is_blocked=True)
    place = "menu/load.py:42 load_menu"
    (line,) = [each for each in shown if any(place in span.text for span in each)]
    assert {span.text: span.tone for span in line}[place] is Tone.STRONG
    assert text((line,)).split() == [*place.split(), "time.sleep(4)"]
    said = text(shown)
    assert said.index(place) < said.index("agent.py:12 entry"), "innermost first"
    assert "… 2 library frames" in said
    assert "run_until_complete" not in said


def test_a_blocked_loop_is_named_with_its_place_and_the_main_thread_comes_first() -> None:
    assert (
        blocked_line(BLOCKED, 4.2, "", AGENT) == "event loop blocked for 4 s in menu/load.py:42 load_menu()"
    )
    assert blocked_line("", 4.2, "agent.py:12 in entry", AGENT) == (
        "event loop blocked for 4 s in agent.py:12 in entry"
    )
    assert blocked_line(BLOCKED, 0.0, "agent.py:12 in entry", AGENT) == ""
    assert lines(BLOCKED, is_blocked=True)[0] == "Running  1"


def test_the_frame_that_e_opens() -> None:
    top = top_frame(BLOCKED)
    assert top is not None
    assert (top.file, top.line) == ("/home/ann/voice/menu/load.py", 42)
    waits = BLOCKED.replace("/home/ann/voice/menu", "/usr/lib/python3.12").replace(
        'voice/agent.py", line 12', "x"
    )
    assert top_frame("Thread MainThread:\n    (no JavaScript runs: the event loop waits)\n") is None
    assert top_frame(waits) is not None


def test_the_stack_of_node() -> None:
    (stack,) = stacks_in(NODE)
    assert stack.own is not None
    assert (stack.own.file, stack.own.line) == ("/home/ann/desk/src/agent.ts", 31)
    shown = text(stack_lines(NODE, 90, "/home/ann/desk/src/agent.ts", is_blocked=False))
    assert shown.split("\n") == [
        "Threads  1",
        "  ● main thread",
        "      agent.ts:31 crunch",
        "      agent.ts:40 entry",
        "      … 1 library frame",
    ]
    idle = "Thread MainThread:\n    (no JavaScript runs: the event loop waits)\n"
    assert lines(idle)[1] == "  ○ main thread  (no JavaScript runs: the event loop waits)"


@pytest.mark.parametrize("width", [30, 54, 100])
@pytest.mark.parametrize(
    "stacks", [BLOCKED, NODE, "", HOSTILE, f"Task {HOSTILE}:\n{HOSTILE}", f"Thread a:\n{BLOCKED}"]
)
def test_any_text_fits_and_has_no_control_characters(stacks: str, width: int) -> None:
    shown = stack_lines(stacks, width, AGENT, is_blocked=False)
    assert all(width_of(line) <= width for line in shown)
    assert not set("\x1b\u202e\r\x07") & set(text(shown))


async def test_a_task_has_all_that_it_awaits() -> None:
    started = asyncio.Event()

    async def inner() -> None:
        started.set()
        await asyncio.Event().wait()

    async def outer() -> None:
        await inner()

    task = asyncio.create_task(outer(), name="the call")
    await started.wait()
    found = {stack.name: stack for stack in stacks_in(child_stacks(asyncio.get_running_loop()))}
    task.cancel()
    assert [frame.lines[0].rpartition(", in ")[2] for frame in found["the call"].frames] == [
        "wait",
        "inner",
        "outer",
    ]


def test_the_tab_says_first_that_the_loop_is_blocked_and_what_e_opens() -> None:
    engine = FakeEngine()
    histories.memory(engine)
    state, now = engine.bus.state, engine.clock.time()
    shown = text(stacks_of(Stacks("p2", BLOCKED, now), entries(state)["p2"], state, now, 90)).split("\n")
    assert shown[0].startswith("⚠ event loop blocked for 4 s in menu/load.py:42 load_menu()")
    assert shown[1].endswith("· s refreshes · e opens menu/load.py:42")


async def test_e_opens_the_first_frame_of_the_shown_stacks(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[tuple[Path, int]] = []

    def open_in_editor(_: object, file: Path, line: int) -> None:
        opened.append((file, line))

    monkeypatch.setattr("agent_tui.tui.action_handlers.open_in_editor", open_in_editor)
    engine = FakeEngine()
    histories.idle(engine)
    async with page_host(engine, kind=AgentTuiApp) as (app, pilot):
        engine.results.append(cmd.CommandResult(True, BLOCKED))
        await pilot.press("s")
        await until(lambda: "load_menu" in str(app.query_one("#detail-text").render()))
        await pilot.press("e")
        await until(lambda: opened == [(Path("/home/ann/voice/menu/load.py"), 42)])
        await pilot.press("left_square_bracket", "e")
        await until(lambda: len(opened) == 2)
        assert opened[1] == (Path(AGENT), 1)
