"""The texts about loads: rows, facts, steps, diffs, and failures."""

import pytest
from msgspec.structs import replace

from agent_tui.model import events as ev
from agent_tui.model.child import ProcessKind
from agent_tui.model.state import AppState, LoadRecord
from agent_tui.tui.widgets.diff_rows import (
    diff_lines,
    failing_line,
    failure_lines,
    first_change,
    folded,
    marked,
)
from agent_tui.tui.widgets.load_list import WHAT, names, row
from agent_tui.tui.widgets.load_rows import Entry, bar, entries, fact_lines, memory, short, step_lines
from agent_tui.tui.widgets.text import Tone, width_of
from tests.fakes.engine import FakeEngine
from tests.tui import histories
from tests.tui.loads import DIFF, HOSTILE, ready, state_of, text


def test_skipped_loads_are_listed_at_the_next_load() -> None:
    state = state_of(
        ev.GenerationLoading(1, "start"),
        ready(1),
        *(ev.GenerationLoading(number, "/v/agent.py") for number in (2, 3, 4)),
        ready(4, cause="/v/agent.py"),
        ev.GenerationLoading(5, "/v/agent.py"),
        ev.GenerationLoading(6, "/v/tools.py"),
    )
    assert [(each.number, each.overtook) for each in entries(state)] == [(6, (5,)), (4, (2, 3)), (1, ())]
    loading, newest, _ = entries(state)
    assert "is loading\n  trigger  v/tools.py saved" in text(fact_lines(loading, state, 0.0))
    assert "skipped  2 to 3: saved again while loading" in text(fact_lines(newest, state, 0.0))


def test_a_generation_that_fails_after_loading_has_one_row_that_says_so() -> None:
    failure = ev.GenerationFailed(1, "KeyError", None, None, "", "its processes …")
    state = state_of(ready(1), failure)
    (failed,) = entries(state)
    assert cells(failed, state)["state"] == "✗ not starting"
    assert "is current, but its processes fail to start" in text(fact_lines(failed, state, 0.0))
    later = state_of(ready(1), failure, ready(2))
    assert [cells(each, later)["state"] for each in entries(later)] == ["● current", "✗ failed"]
    assert "failed to start" in text(fact_lines(entries(later)[1], later, 0.0))


def cells(entry: Entry, state: AppState, width: int = 80) -> dict[str, str]:
    return {key: span.text for key, span in row(entry, state, width).items()}


def test_a_row_has_a_sign_and_a_word_and_says_what_changed_or_why_it_failed() -> None:
    engine = FakeEngine()
    histories.stale(engine)
    state = engine.bus.state
    shown = [cells(entry, state) for entry in entries(state)]
    assert [(each["gen"], each["state"]) for each in shown] == [
        ("3", "✗ failed"),
        ("2", "● current"),
        ("1", "✓ replaced"),
    ]
    assert shown[0][WHAT] == "KeyError: 'SEARCH_KEY' · tools/search.py:7"
    assert shown[1][WHAT] == "agent.py, tools/search.py"
    narrow = cells(entries(state)[0], state, 40)
    assert narrow[WHAT] == "KeyError: 'SEARCH_KEY' · search.py:7", "the name without its folder"
    running = row(entries(state)[2], state, 80)["running"]
    assert running.text == "2: demo-1, demo-2"
    assert running.tone is Tone.WARN, "they run on old code"


@pytest.mark.parametrize(
    ("width", "shown"),
    [
        (40, "agent.py, tools/search.py, 漢字.py"),
        (34, "agent.py, tools/search.py, 漢字.py"),
        (33, "agent.py and 2 more"),
        (12, "… and 2 more"),
    ],
)
def test_as_many_names_as_fit(width: int, shown: str) -> None:
    found = names(["agent.py", "tools/search.py", "漢字.py"], width)
    assert found == shown
    assert names(["tools/" + "漢" * 20 + "/calendar.py"], 20).endswith("/calendar.py")


def test_facts_of_the_current_generation_and_of_an_older_one_with_jobs() -> None:
    engine = FakeEngine()
    histories.stale(engine)
    state, now = engine.bus.state, engine.clock.time()
    failed, current, first = entries(state)
    facts = text(fact_lines(current, state, now))
    assert "● generation 2 is current · took 54 ms" in facts
    assert "changed  agent.py, tools/search.py" in facts
    assert "fork: loading takes 9 ms" in facts
    facts = text(fact_lines(first, state, now))
    assert "jobs     AJ_k3Lm9QxTzW2a in demo-1, 0:07" in facts
    assert "2 with a job" in facts
    assert "memory" not in text(fact_lines(failed, state, now))


def test_paths_are_relative_to_the_agents_folder() -> None:
    state = state_of()
    paths = (
        "/home/ann/voice/agent.py",
        "/home/ann/voice/tools/search.py",
        "/home/ann/shared/text.py",
        "start",
    )
    assert [short(path, state) for path in paths] == [
        "agent.py",
        "tools/search.py",
        "shared/text.py",
        "start",
    ]


def test_memory_is_the_sum_of_a_measure_that_all_processes_have() -> None:
    state = state_of(
        *(ev.ProcessChanged(id, 1, ProcessKind.JOB, ev.ProcessState.IDLE, 1) for id in ("a", "b"))
    )
    one, other = state.processes.values()
    assert memory([one, other]) == "not measured yet: 2 processes (2 idle)"
    one = replace(one, rss_mb=100.0, uss_mb=20.0, pss_mb=40.0)
    assert memory([one, replace(one, pss_mb=41.0)]) == "81 MB pss in 2 processes (2 idle)"
    assert memory([one, replace(one, pss_mb=None)]) == "40 MB uss in 2 processes (2 idle)"
    assert memory([one, replace(other, rss_mb=50.0)]) == "150 MB rss in 2 processes (2 idle)"


def test_the_facts_say_that_the_code_is_rolled_back() -> None:
    state = state_of(
        ready(1), ready(2, cause="/v/agent.py"), ready(3, cause="roll back to 1", rolled_back_to=1)
    )
    newest, *_ = entries(state)
    said = text(fact_lines(newest, state, 0.0))
    assert "trigger  roll back to 1" in said
    assert "same as generation 1, not the files on disk" in said
    later = state_of(ready(1), ready(3, rolled_back_to=1), ready(4))
    assert "not what is on disk" not in text(fact_lines(entries(later)[1], later, 0.0))


def test_each_step_has_a_bar() -> None:
    steps = ev.LoadSteps(seen=10.0, read=0.0, load=40.0)
    record = LoadRecord(1, 0.0, good=True, cause="start", seconds=None, steps=steps)
    lines = text(step_lines(record)).split("\n")
    assert [line.split()[:2] for line in lines] == [["save", "seen"], ["files", "read"], ["file", "loaded"]]
    bars = [line.partition("ms  ")[2] for line in lines]
    assert bars == ["█" * 4, " " * 4 + "▌", " " * 4 + "█" * 16], "each starts where the one before ends"
    assert all(
        width_of(line) <= 76 for line in step_lines(replace(record, steps=ev.LoadSteps(*[12.0] * 7)), 3)
    )
    assert step_lines(replace(record, steps=ev.LoadSteps())) == ()
    assert [bar(share, 2) for share in (0.0, 0.001, 0.5, 1.0, 7.0)] == ["", "▏", "█", "██", "██"]


def test_lines_of_a_diff_are_classified_by_hunk() -> None:
    assert "".join(kind for kind, _, _ in marked(DIFF)) == "=ff@ -+ ff@-="
    lines = {"".join(span.text for span in line).strip(): line for line in diff_lines(DIFF, 100) if line}
    assert lines["--- a comment that was removed"][1].tone is Tone.GONE
    assert lines["9 +++ one that was added"][1].tone is Tone.GOOD
    heads = [name.strip("─ ") for name in lines if name.startswith("──")]
    assert heads == ["agent.py", "tools/gone.py deleted"]
    assert ".env changed: content not kept" in lines
    added = text(diff_lines("one\n--- /dev/null\n+++ b.py\n@@ -0,0 +1 @@\n+x", 40))
    assert "── b.py new file ─" in added
    assert added.endswith("1 +x")


def test_the_first_change_of_an_existing_file() -> None:
    assert first_change(DIFF) == ("agent.py", 9)
    assert first_change(
        "one\n--- a\n+++ /dev/null\n@@ -1 +0,0 @@\n-x\n--- b\n+++ b\n@@ -1 +1,2 @@\n a\n+b"
    ) == ("b", 2)
    assert first_change("generation 1 was the first") is None


def test_a_long_line_keeps_its_sign_in_each_row() -> None:
    rows = folded("+" + "漢" * 30, 20)
    assert all(each.startswith("+") for each in rows)
    assert "".join(each.removeprefix("+").removeprefix("… ") for each in rows) == "漢" * 30
    assert folded("", 20) == [""]


def test_outside_text_is_one_row() -> None:
    for line in diff_lines(f"head\n--- {HOSTILE}\n+++ x\n@@ -0,0 +1 @@\n+{HOSTILE}", 60):
        assert not set("\x1b\u202e\r\x07\n") & set("".join(span.text for span in line))


def test_a_failure_shows_the_failing_line() -> None:
    traceback = (
        'Traceback:\n  File "/v/agent.py", line 3, in <module>\n    from tools import search\n'
        '  File "<frozen importlib._bootstrap>", line 1176, in _find_and_load\n'
        '  File "/v/search.py", line 7, in <module>\n    KEY = os.environ["KEY"]\nKeyError: \'KEY\'\n'
    )
    record = LoadRecord(
        3, 0.0, good=False, cause="x", seconds=None, error="KeyError", file="/v/search.py", line=7,
        traceback=traceback,
    )  # fmt: skip
    assert failing_line(record) == 'KEY = os.environ["KEY"]'
    said = text(failure_lines(record, AppState(), 100))
    assert said.startswith('KeyError\nat /v/search.py:7\n   KEY = os.environ["KEY"]\n\nTraceback:')
    assert "importlib" not in said
    assert failing_line(replace(record, line=70)) == ""
    assert failing_line(replace(record, traceback="")) == ""
    long = replace(record, traceback="\n".join(f"line {number}" for number in range(100)))
    assert "… 40 earlier lines\nline 40" in text(failure_lines(long, AppState(), 100))
