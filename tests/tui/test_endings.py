"""The texts of endings, the place at which a job failed, and its traceback."""

from pathlib import Path

import pytest
from msgspec.structs import replace

from agent_tui.model.child import ProcessKind
from agent_tui.model.events import EndedBy, JobStatus, ProcessState
from agent_tui.model.state import JobPhase, JobView, ProcessView
from agent_tui.tui.widgets.endings import ENDINGS, job_ended, job_status, process_ended
from agent_tui.tui.widgets.source import (
    MAX_BYTES,
    Place,
    failing_place,
    read_source,
    source_lines,
    traceback_lines,
)
from agent_tui.tui.widgets.text import Tone

RUNNING = JobView("AJ_1", "demo", JobPhase.RUNNING, 0.0, process_id="p1")
PROCESS = ProcessView("p1", 8, ProcessKind.JOB, ProcessState.ENDED, 1, 0.0, 1.0, "AJ_1")


def ended(by: EndedBy, status: JobStatus = JobStatus.FAILED, **more: int) -> JobView:
    return replace(RUNNING, phase=JobPhase.ENDED, status=status, ended_by=by, **more)


def test_every_way_to_end_looks_different() -> None:
    assert set(ENDINGS) == set(EndedBy)
    jobs = [ended(by, exit_code=3, signal=11 if by is EndedBy.SIGNAL else 0) for by in EndedBy]
    lost = [replace(RUNNING, phase=phase) for phase in (JobPhase.LOST, JobPhase.DECLINED)]
    shown = [job_status(job).text for job in (*jobs, *lost, RUNNING)]
    assert len(set(shown)) == len(shown)
    assert all(len(text) <= 13 for text in shown)
    assert len({job_ended(job) for job in jobs}) == len(jobs)
    assert job_ended(RUNNING) == ""


@pytest.mark.parametrize(
    ("by", "more", "text"),
    [
        (EndedBy.OUT_OF_MEMORY, {"signal": 9}, "✗ OOM kill"),
        (EndedBy.INIT_TIMEOUT, {"signal": 9}, "✗ timeout"),
        (EndedBy.UNRESPONSIVE, {"signal": 9}, "✗ hung"),
        (EndedBy.LOADING, {"exit_code": 1}, "✗ not ready"),
        (EndedBy.SIGNAL, {"signal": 11}, "✗ SIGSEGV"),
        (EndedBy.EXIT, {"exit_code": 3}, "✗ exit 3"),
        (EndedBy.ORDER, {"exit_code": 0}, "■ ended"),
        (None, {"signal": 9}, "✗ SIGKILL"),
    ],
)
def test_how_a_process_ended_by_its_cause(by: EndedBy | None, more: dict[str, int], text: str) -> None:
    assert process_ended(replace(PROCESS, ended_by=by, **more), None).text == text


def test_a_process_that_ended_gracefully_shows_how_its_last_job_ended() -> None:
    process = replace(PROCESS, ended_by=EndedBy.ORDER, exit_code=0)
    over = ended(EndedBy.MEMORY_LIMIT)
    assert process_ended(process, over).text == "✗ limit"
    assert process_ended(process, replace(over, process_id="p2")).text == "✗ failed"
    assert process_ended(process, ended(EndedBy.ORDER, JobStatus.SUCCESS)).text == "✓ done"


TRACEBACK = """Traceback (most recent call last):
  File "/home/ann/agent.py", line 2, in entry
    look()
  File "/venv/lib/python3.11/site-packages/x/y.py", line 9, in z
    raise KeyError
KeyError
"""


def texts(place: Place, source: str | None, width: int = 80) -> list[str]:
    return ["".join(span.text for span in line) for line in source_lines(place, width, read=lambda _: source)]


def test_the_failing_place_is_the_innermost_frame_of_the_project() -> None:
    assert failing_place(TRACEBACK) == Place("/home/ann/agent.py", 2, "look()")
    theirs = TRACEBACK.replace("/home/ann/agent.py", "<string>")
    assert failing_place(theirs) == Place("/venv/lib/python3.11/site-packages/x/y.py", 9, "raise KeyError")
    assert failing_place("no traceback") is None
    assert failing_place("") is None


@pytest.mark.parametrize(
    ("frames", "place"),
    [
        (
            "at order (file:///home/ann/my%20desk/agent.mjs:12:9)",
            Place("/home/ann/my desk/agent.mjs", 12, ""),
        ),
        ("at async Object.entry (/home/ann/50%25/agent.ts:8:3)", Place("/home/ann/50%25/agent.ts", 8, "")),
        ("at async file:///home/ann/agent.mjs:3:1", Place("/home/ann/agent.mjs", 3, "")),
        ("at /home/ann/agent.cjs:4:1", Place("/home/ann/agent.cjs", 4, "")),
        (
            "at check (/home/ann/node_modules/zod/index.js:1:2)\n    at new Desk (/home/ann/desk.mjs:5:7)\n"
            "    at entry (/home/ann/agent.mjs:9:3)\n    at run (/opt/agent_tui/child/node/job.cjs:2:2)",
            Place("/home/ann/desk.mjs", 5, ""),
        ),
        ("at node:internal/timers:581:17", None),
    ],
)
def test_the_failing_place_in_a_stack_of_node(frames: str, place: Place | None) -> None:
    assert failing_place(f"TypeError: no seat\n    {frames}\n    at node:internal/main:1:1") == place


def test_source_lines_around_the_failing_line() -> None:
    place = Place("/home/ann/agent.py", 2, "look()")
    assert texts(place, "def f():\n    look()\n    return 1\n4\n5\n") == [
        "/home/ann/agent.py:2",
        "    1  def f():",
        "  ▸ 2      look()",
        "    3      return 1",
        "    4  4",
    ]
    assert texts(place, "def f():\n    other()\n")[1:] == [
        "  ▸ look()",
        "  the file has changed since the error",
    ]
    assert texts(place, "one line")[-1] == "  the file has changed since the error"
    assert texts(place, None)[1:] == ["  ▸ look()", "  the file is no longer readable"]
    assert texts(place, None, 12)[0] == "…/agent.py:2"


def test_only_a_small_regular_file_is_read(tmp_path: Path) -> None:
    large = tmp_path / "large.py"
    large.write_bytes(b"x" * (MAX_BYTES + 1))
    odd = tmp_path / "odd.py"
    odd.write_bytes(b"\xff = 1\n")
    assert read_source(str(odd)) == "\ufffd = 1\n"
    for file in (str(large), str(tmp_path), "/dev/zero", "/none", "/a\0b"):
        assert read_source(file) is None


# -- the text of a traceback -----------------------------------------------------------------------------

LIBRARY = """  File "/venv/lib/python3.11/site-packages/livekit/agents/job.py", line {}, in run
    await f()
    ^^^^^^^^^
"""
LONG = (
    "Traceback (most recent call last):\n"
    + LIBRARY.format(1)
    + LIBRARY.format(2)
    + '  File "/home/ann/voice/agent.py", line 2, in entry\n    look()\n'
    + LIBRARY.format(3)
    + '  File "<frozen importlib._bootstrap>", line 9, in load\n'
    + "KeyError: 'day'\n"
)


def crash(traceback: str, *, folded: bool = True, width: int = 80) -> list[str]:
    lines = traceback_lines(
        traceback,
        width,
        "/home/ann/voice/agent.py",
        folded=folded,
        hint="space folds",
        read=lambda _: "def f():\n    look()\n",
    )
    return ["".join(span.text for span in line).rstrip() for line in lines]


def test_library_frames_are_folded_and_the_failing_line_is_shown_once() -> None:
    assert crash(LONG) == [
        "Traceback  space folds",
        "    … 2 library frames",
        '    File "agent.py", line 2, in entry',
        "    1  def f():",
        "  ▸ 2      look()",
        "    3",
        "    … 2 library frames",
        "  KeyError: 'day'",
    ]
    unfolded = crash(LONG, folded=False)
    assert sum("site-packages" in line for line in unfolded) == 3
    assert sum("look()" in line for line in unfolded) == 1


def test_frames_of_the_project_are_bright_and_library_frames_dim() -> None:
    lines = traceback_lines(LONG, 80, folded=False, read=lambda _: None)
    tones = {span.text.strip(): span.tone for line in lines for span in line}
    assert tones['File "/home/ann/voice/agent.py", line 2, in entry'] is Tone.PLAIN
    assert tones["await f()"] is Tone.DIM
    assert tones["KeyError: 'day'"] is Tone.GONE


def test_without_a_frame_of_the_project_nothing_is_folded() -> None:
    text = "Traceback (most recent call last):\n" + LIBRARY.format(1) + "KeyError\n"
    lines = crash(text)
    assert lines[0] == "Traceback"
    assert any("site-packages" in line for line in lines)


def test_chained_exceptions_and_groups_keep_all_messages() -> None:
    chained = LONG + "\nDuring handling of the above exception, another exception occurred:\n\n" + LONG
    lines = crash(chained)
    assert lines.count("  KeyError: 'day'") == 2
    assert sum("library frames" in line for line in lines) == 4
    assert sum("▸" in line for line in lines) == 1
    group = (
        "  + Exception Group Traceback (most recent call last):\n"
        '  |   File "/home/ann/voice/agent.py", line 2, in entry\n  |     look()\n'
        "  | ExceptionGroup: two (2 sub-exceptions)\n  +-+---------------- 1 ----------------\n"
        '    |   File "/venv/lib/python3.11/site-packages/x.py", line 1, in x\n    |     f()\n'
        "    | ValueError: 1\n"
    )
    lines = crash(group)
    assert "    … 1 library frame" in lines
    assert "      | ValueError: 1" in lines
    assert "    | ExceptionGroup: two (2 sub-exceptions)" in lines


def test_a_stack_of_node_is_folded_too() -> None:
    lines = crash(
        "TypeError: no seat\n    at check (/home/ann/voice/node_modules/zod/index.js:1:2)\n"
        "    at entry (file:///home/ann/voice/agent.mjs:2:9)\n    at node:internal/main:1:1"
    )
    assert lines == [
        "Stack trace  space folds",
        "  TypeError: no seat",
        "    … 1 library frame",
        "      at entry (file://agent.mjs:2:9)",
        "    1  def f():",
        "  ▸ 2      look()",
        "    3",
        "    … 1 library frame",
    ]
