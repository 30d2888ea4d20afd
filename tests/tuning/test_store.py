"""Saved sweeps are read back, and other files are ignored."""

import csv
import io
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import asdict, replace

from agent_tui.model.tuning import JobMeasure, Row, TestLoad
from agent_tui.tuning import store
from agent_tui.tuning.advice import advise
from agent_tui.tuning.grammar import parse_target
from agent_tui.tuning.report import comparison, table
from agent_tui.tuning.results import rows
from tests.tuning.support import RULE, sweep_of

RESULT = sweep_of(TestLoad(20, 2.0), counts=(0, 2))
NUMBERS = st.none() | st.floats(allow_nan=False, allow_infinity=False)


@given(st.lists(st.builds(Row, *[st.integers(0, 9)] * 3, *[NUMBERS] * 3, st.floats(0, 1), *[NUMBERS] * 9)))
def test_csv_has_exact_figures_and_leaves_unknown_ones_empty(found: list[Row]) -> None:
    lines = csv.DictReader(io.StringIO(store.rows_to_csv(found)))
    told = [{name: float(value) if value else None for name, value in line.items()} for line in lines]
    assert told == [asdict(row) for row in found]


def test_a_sweep_survives_json() -> None:
    lost = replace(RESULT.runs[0], jobs=(JobMeasure("a", 0.1, lost="no worker"), *RESULT.runs[0].jobs))
    result = replace(RESULT, runs=(lost, RESULT.runs[1]), ended="stopped")
    form = json.loads(json.dumps(store.to_form(result, advise(result, parse_target("p95<50ms"), RULE))))
    assert store.from_form(form) == result
    assert form["advice"]["target"] == "p95<50ms"
    assert form["rows"][1]["num_idle_processes"] == 2


def test_saved_sweeps_are_found_newest_first(tmp_path: Path) -> None:
    place = store.folder({"XDG_STATE_HOME": str(tmp_path)}, "/project/agent.py")
    assert store.earlier(place) == []
    later = replace(RESULT, started=2_000.0)
    files = [store.save(place, each) for each in (RESULT, later, later)]
    assert len({name for pair in files for name in pair}) == 6
    assert files[0][1].read_text() == store.rows_to_csv(rows(RESULT))
    (place / "broken.json").write_text("{")
    (place / "other.json").write_text('{"version": 99}')
    assert store.earlier(place) == [later, later, RESULT]
    assert store.earlier(place, 2_000.0) == [RESULT]
    assert sorted(path.suffix for path in place.iterdir()) == [".csv"] * 3 + [".json"] * 5


def test_agents_with_the_same_name_have_separate_folders_in_the_home_by_default(tmp_path: Path) -> None:
    one, other = (store.folder({"HOME": str(tmp_path)}, f"/{name}/agent.py") for name in "ab")
    assert one != other
    assert one.parent == tmp_path / ".local/state/agent-tui/sweeps"
    assert store.folder({"HOME": str(tmp_path), "XDG_STATE_HOME": "relative"}, "/a/agent.py") == one


def test_a_folder_that_cannot_be_written_raises_os_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file"):
        store.save(tmp_path / "file" / "sweeps", RESULT)


def test_a_sweep_is_compared_with_the_last_one_of_the_same_test_load() -> None:
    other_seed = sweep_of(TestLoad(30, 2.0, seed=9), counts=(2, 4))
    other_rate = sweep_of(TestLoad(20, 3.0))
    assert store.comparable(RESULT.load, [other_rate, other_seed]) is other_seed
    assert store.comparable(RESULT.load, [other_rate]) is None
    (change,) = store.compare(rows(RESULT), rows(other_seed))
    assert (change.num_idle_processes, change.now) == (2, rows(RESULT)[1])
    lines = comparison((change,), 0.0)
    assert lines[1].startswith("  2 idle: p95 ")
    assert lines[1].endswith("USS 8.0 → 8.0 MB")
    assert comparison((), 0.0) == []


def test_the_table_is_aligned_and_marks_unknown_figures() -> None:
    lines = table(rows(RESULT))
    assert len({len(line) for line in lines}) == 1
    assert lines[0].split()[:3] == ["idle", "jobs", "lost"]
    assert lines[2].split()[-2:] == ["8.0", "16.0"]
    assert lines[1].split()[:3] == ["0", "20", "0"]
