"""What the log pane shows, with no screen: the mirror, the filters, find, and texts."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from agent_tui.model.logs import LogLevel, LogLine, LogSource, LogStream
from agent_tui.tui.screens.log_record import record_head
from agent_tui.tui.widgets.log_rows import MAX_ROWS, Change, LogRows, row_count
from agent_tui.tui.widgets.log_text import (
    Columns,
    Role,
    Title,
    columns,
    match_place,
    next_level,
    owner_label,
    owner_of,
    row_parts,
    title_pieces,
)
from tests.fakes.engine import FakeEngine
from tests.tui import histories


def line(
    index: int,
    text: str = "hello",
    level: LogLevel = LogLevel.INFO,
    process: str = "p1",
    job: str | None = None,
    ts: float = 0.0,
) -> LogLine:
    return LogLine(index, ts, level, LogSource(process, LogStream.STDOUT), job, text)


def texts(rows: LogRows) -> list[str]:
    return [each.text.split("\n")[part] for each, part in (rows.at(row) for row in range(len(rows)))]


def test_a_record_has_a_row_for_each_of_its_lines() -> None:
    rows = LogRows()
    assert rows.add([line(0, "one"), line(1, "Traceback\n  File\nError\n"), line(2, "two")]) == Change(0, 3)
    assert texts(rows) == ["one", "Traceback", "  File", "Error", "two"]
    assert (rows.row_of(1), rows.row_after(1)) == (1, 4)


def test_the_ring_evicts_the_oldest_and_tells_how_many_rows_went() -> None:
    rows = LogRows(capacity=3)
    rows.add([line(0, "a\nb"), line(1), line(2)])
    assert rows.add([line(3), line(4, "last")]) == Change(3, 2)
    assert (rows.first, rows.end, len(rows)) == (2, 5, 3)
    assert rows.line(1) is None
    assert rows.line(4) == line(4, "last")


def test_a_gap_means_that_the_store_evicted_all_that_is_here() -> None:
    rows = LogRows()
    rows.add([line(0), line(1, "a\nb")])
    assert rows.add([line(90, "later")]) == Change(3, 1)
    assert (rows.first, texts(rows)) == (90, ["later"])


def test_level_and_owner_filter_what_is_here_and_what_comes() -> None:
    rows = LogRows(LogLevel.DEBUG)
    rows.add([line(0, "a", LogLevel.DEBUG), line(1, "b", process="p2", job="J"), line(2, "c", process="")])
    rows.filter(LogLevel.INFO, None)
    assert texts(rows) == ["b", "c"]
    for owner, shown in (("J", ["b"]), ("p2", ["b"]), ("", ["c"]), ("p1", [])):
        rows.filter(LogLevel.INFO, owner)
        assert texts(rows) == shown
    rows.filter(LogLevel.DEBUG, "p1")
    rows.add([line(3, "d", LogLevel.TRACE), line(4, "e")])
    assert texts(rows) == ["a", "e"]


@pytest.mark.parametrize(
    ("needle", "found"), [("boom", 3), ("Boom", 1), ("BOOM", 1), ("x.y", 0), ("[/b]", 1), ("nothing", 0)]
)
def test_find_minds_capitals_only_when_some_are_typed(needle: str, found: int) -> None:
    rows = LogRows()
    rows.add([line(0, "boom [/b]"), line(1, "Boom xzy"), line(2, "a\nBOOM"), line(3, "quiet")])
    rows.find(needle)
    assert (rows.found, len(rows)) == (found, 5)


def test_matches_are_gone_through_in_a_circle_and_evicted_with_their_lines() -> None:
    rows = LogRows(capacity=6)
    rows.add([line(i, "boom" if i % 2 else "no") for i in range(6)])
    rows.find("boom")
    assert [rows.match_after(i) for i in (0, 1, 5, 99)] == [1, 3, 1, 1]
    assert [rows.match_before(i) for i in (5, 1, 0, 99)] == [3, 5, 5, 5]
    assert [rows.rank(i) for i in (1, 2, 5)] == [1, 0, 3]
    rows.add([line(i, "boom") for i in range(6, 9)])
    assert (rows.found, rows.rank(3)) == (5, 1)
    rows.find("boom", only_matches=True)
    assert texts(rows) == ["boom"] * 5
    rows.find("", only_matches=True)
    assert (len(rows), rows.match_after(0)) == (6, None)


@given(
    st.lists(st.lists(st.tuples(st.sampled_from(["a", "a b", "b\na\na", ""]), st.sampled_from(LogLevel)))),
    st.sampled_from(LogLevel),
    st.sampled_from(["", "a", "b"]),
)
def test_batches_show_what_one_scan_of_the_kept_lines_would(
    batches: list[list[tuple[str, LogLevel]]], level: LogLevel, needle: str
) -> None:
    rows, again = LogRows(level, capacity=5), LogRows(level, capacity=5)
    rows.find(needle)
    kept: list[LogLine] = []
    for batch in batches:
        new = [line(rows.end + i, text, severity) for i, (text, severity) in enumerate(batch)]
        before = len(rows)
        kept = [*kept, *new][-5:]
        change = rows.add(new)
        assert len(rows) == before - change.rows_evicted + sum(
            row_count(each.text) for each in new if each.level >= level
        )
    again.add(kept)
    again.find(needle)
    assert texts(rows) == texts(again)
    assert rows.found == again.found


def test_a_record_of_many_lines_ends_with_their_count() -> None:
    rows = LogRows()
    text = "\n".join(map(str, range(1000)))
    rows.add([line(0, text)])
    assert len(rows) == MAX_ROWS
    last = row_parts(line(0, text), MAX_ROWS - 1, Columns())
    assert last[-1] == ("… 801 more lines, Enter shows all", Role.QUIET)


def test_the_width_is_that_of_the_widest_row_in_cells() -> None:
    rows = LogRows()
    rows.add([line(0, "漢字漢字"), line(1, "12345\n1234567")])
    assert rows.width == 8


@pytest.mark.parametrize("width", [120, 80, 40])
def test_text_starts_where_the_columns_end(width: int) -> None:
    layout = columns(width)
    for process, job in (("p1", None), ("", None), ("p2", "AJ_k3Lm9QxTzW2a"), ("漢" * 20, None)):
        parts = row_parts(line(0, "hello", process=process, job=job), 0, layout)
        before = "".join(text for text, _ in parts[:-1])
        assert cell_len(before) == layout.prefix
        assert parts[-1] == ("hello", Role.TEXT)


def test_owners_are_short_and_harmless() -> None:
    assert owner_of(line(0, process="p7")) == "p7"
    assert owner_of(line(0, job="AJ_k3Lm9QxTzW2a")) == "AJ_k3Lm9…"
    assert owner_of(line(0, process="")) == "agent-tui"
    assert owner_of(line(0, job="a\x1b[31m\n\u202eb")) == "a b"


@pytest.mark.parametrize("ts", [math.nan, math.inf, -math.inf, 1e300, -1e300])
def test_a_stamp_that_is_no_time_is_shown_as_none(ts: float) -> None:
    bad = line(0, ts=ts)
    assert row_parts(bad, 0, Columns())[1] == ("--:--:--.--- ", Role.TIME)
    assert "--:--:--" in record_head(bad)


def test_what_was_found_stands_out_as_it_is_written() -> None:
    parts = row_parts(line(0, "a [b] A [B] c"), 0, Columns(), "[b]")
    assert [text for text, role in parts if role is Role.FOUND] == ["[b]", "[B]"]
    assert "".join(text for text, _ in parts).endswith("a [b] A [B] c")
    assert match_place(line(0, "x\n漢 boom"), "boom", Columns(aligned=False)) == (1, 8, 12)


def test_levels_go_round() -> None:
    assert [next_level(level).label for level in LogLevel] == [
        "debug",
        "info",
        "warn",
        "error",
        "debug",
        "debug",
    ]


def test_the_owner_filter_is_named_by_what_people_know() -> None:
    engine = FakeEngine()
    histories.busy(engine)
    state = engine.bus.state
    assert owner_label(None, state) == "all"
    assert owner_label("p1", state) == "p1 pid 8123"
    assert owner_label("AJ_k3Lm9QxTzW2a", state) == "AJ_k3Lm9… demo-1"
    assert owner_label("", None) == "agent-tui"


def written(title: Title, width: int) -> str:
    left, right = title_pieces(title, width)
    return " | ".join("".join(text for text, _ in piece.parts) for piece in [*left, *right])


def test_the_title_tells_all_when_there_is_room_and_the_most_telling_else() -> None:
    title = Title(
        LogLevel.INFO,
        owner="p1 pid 8123",
        needle="boom",
        rank=2,
        found=17,
        follow=False,
        unseen=1234,
        dropped=5000,
        lines=50_000,
    )
    assert written(title, 120) == (
        "Logs | info ▾ | p1 pid 8123 × | /boom 2/17"
        " | ⚠ 5 000 dropped | 50 000 lines | ‖ held +1 234 new  f follows"
    )
    assert written(title, 80) == "Logs | info ▾ | /boom 2/17 | ⚠ 5 000 dropped | ‖ held +1 234 new  f follows"
    assert written(title, 30) == "info ▾ | ‖ held +1 234 new  f follows"


@pytest.mark.parametrize(
    ("title", "part"),
    [
        (Title(LogLevel.WARN), "Logs | warn ▾ | all | / find | 0 lines | ● follow"),
        (Title(LogLevel.INFO, needle="x"), "/x not found"),
        (Title(LogLevel.INFO, needle="x", found=3), "/x 3 found"),
        (Title(LogLevel.INFO, needle="x", found=3, only_matches=True), "/x 3 found only"),
        (Title(LogLevel.INFO, follow=False), "‖ held  f follows"),
    ],
)
def test_what_the_title_says(title: Title, part: str) -> None:
    assert part in written(title, 120)


def test_the_record_names_its_origin_and_its_fields_safely() -> None:
    record = LogLine(
        7,
        0.0,
        LogLevel.ERROR,
        LogSource("p1", LogStream.RECORD),
        "AJ_1",
        "text",
        "my.logger",
        {"room\n": "demo\x1b]0;x\x07", "n": 3},
    )
    head = record_head(record)
    for fact in (
        "from    process p1, record",
        "job     AJ_1",
        "logger  my.logger",
        "room    demo",
        "n       3",
    ):
        assert fact in head
    assert "\x1b" not in head
