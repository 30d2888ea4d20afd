"""The log pane's rows, without Textual: the ring, filters, and find."""

from dataclasses import replace
from math import inf

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.cells import cell_len

from agent_tui.model.logs import LogLevel, LogLine
from agent_tui.tui.widgets.log_filter import NOTHING, LogFilter, Query, parse, toggled
from agent_tui.tui.widgets.log_rows import (
    AT_ONCE,
    MAX_ROWS,
    SLICE,
    Change,
    LogRows,
    row_count,
    row_slices,
    shown_lines,
)
from agent_tui.tui.widgets.log_text import (
    Columns,
    Role,
    fold_cells,
    match_place,
    row_parts,
)
from tests.tui.log_line import line


def show(rows: LogRows, **changes: object) -> None:
    """Apply a filter and run its scan to the end."""
    rows.request(replace(rows.filter, **changes))  # type: ignore[arg-type]
    while not rows.work():
        assert rows.scanned is not None
    rows.swap()


def find(rows: LogRows, typed: str, **changes: object) -> None:
    show(rows, query=parse(typed), **changes)


def texts(rows: LogRows) -> list[str]:
    return [each.text.split("\n")[part] for each, part in (rows.at(row) for row in range(len(rows)))]


def test_a_record_has_a_row_for_each_of_its_lines() -> None:
    rows = LogRows()
    assert rows.add([line(0, "one"), line(1, "Traceback\n  File\nError\n"), line(2, "two")]) == Change(0, 3)
    assert texts(rows) == ["one", "Traceback", "  File", "Error", "two"]
    assert (rows.index.row_of(1), rows.index.row_of(2)) == (1, 4)


def test_the_ring_evicts_the_oldest_and_counts_their_rows() -> None:
    rows = LogRows(capacity=3)
    rows.add([line(0, "a\nb"), line(1), line(2)])
    assert rows.add([line(3), line(4, "last")]) == Change(3, 2)
    assert (rows.first, rows.end, len(rows)) == (2, 5, 3)
    assert rows.line(1) is None
    assert rows.line(4) == line(4, "last")


def test_a_gap_drops_all_older_lines() -> None:
    rows = LogRows()
    rows.add([line(0), line(1, "a\nb")])
    assert rows.add([line(90, "later")]) == Change(3, 1)
    assert (rows.first, texts(rows)) == (90, ["later"])


def test_level_and_owner_filter_existing_and_new_lines() -> None:
    rows = LogRows(LogLevel.DEBUG)
    rows.add([line(0, "a", LogLevel.DEBUG), line(1, "b", process="p2", job="J"), line(2, "c", process="")])
    show(rows, level=LogLevel.INFO)
    assert texts(rows) == ["b", "c"]
    for owners, shown in (
        ({"J"}, ["b"]),
        ({"p2"}, ["b"]),
        ({""}, ["c"]),
        ({"", "J"}, ["b", "c"]),
        ({"p1"}, []),
    ):
        show(rows, owners=frozenset(owners))
        assert texts(rows) == shown
    show(rows, level=LogLevel.DEBUG, owners=frozenset({"p1"}))
    rows.add([line(3, "d", LogLevel.TRACE), line(4, "e")])
    assert texts(rows) == ["a", "e"]


@pytest.mark.parametrize(
    ("needle", "found"), [("boom", 3), ("Boom", 1), ("BOOM", 1), ("x.y", 0), ("[/b]", 1), ("nothing", 0)]
)
def test_case_matters_only_if_capitals_are_typed(needle: str, found: int) -> None:
    rows = LogRows()
    rows.add([line(0, "boom [/b]"), line(1, "Boom xzy"), line(2, "a\nBOOM"), line(3, "quiet")])
    find(rows, needle)
    assert (len(rows.index.matches), len(rows)) == (found, 5)


def test_matches_wrap_around_and_are_evicted_with_their_lines() -> None:
    rows = LogRows(capacity=6)
    rows.add([line(i, "boom" if i % 2 else "no") for i in range(6)])
    find(rows, "boom")
    assert [rows.index.match_after(i) for i in (0, 1, 5, 99)] == [1, 3, 1, 1]
    assert [rows.index.match_before(i) for i in (5, 1, 0, 99)] == [3, 5, 5, 5]
    assert [rows.index.rank(i) for i in (1, 2, 5)] == [1, 0, 3]
    rows.add([line(i, "boom") for i in range(6, 9)])
    assert (len(rows.index.matches), rows.index.rank(3)) == (5, 1)
    find(rows, "boom", only_matches=True)
    assert texts(rows) == ["boom"] * 5
    find(rows, "", only_matches=True)
    assert (len(rows), rows.index.match_after(0)) == (6, None)


LINES = st.tuples(
    st.sampled_from(["a", "A b", "b\na\na", "", "[/a]\n1\n2\n3", "1\n2\n3\n4\nb"]),
    st.sampled_from(LogLevel),
    st.sampled_from(["p1", "p2", ""]),
    st.integers(0, 2),
)
FILTERS = st.builds(
    LogFilter,
    level=st.sampled_from(LogLevel),
    owners=st.sampled_from([frozenset(), frozenset({"p1"}), frozenset({"J", ""})]),
    generations=st.sampled_from([frozenset(), frozenset({1}), frozenset({1, 2})]),
    query=st.sampled_from([NOTHING, parse("a"), parse("A"), parse("re:^b|[/]"), parse("re:x*")]),
    only_matches=st.booleans(),
    folded=st.booleans(),
)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.lists(LINES, max_size=6)),
        st.tuples(st.just("lose"), st.integers(1, 20)),
        st.tuples(st.just("filter"), FILTERS),
        st.tuples(st.just("work"), st.integers(0, 4)),
        st.tuples(st.just("fold"), st.integers(0, 9)),
    ),
    max_size=30,
)


def plain(
    lines: list[LogLine], shown: LogFilter, toggled: set[int]
) -> tuple[list[tuple[int, int]], list[int]]:
    """Return the shown rows and matches from a scan of all lines."""
    rows: list[tuple[int, int]] = []
    found: list[int] = []
    for each in lines:
        if each.level < shown.level or (shown.generations and each.generation not in shown.generations):
            continue
        if shown.owners and not shown.owners & {each.source.process_id, each.job_id}:
            continue
        if shown.query.matches(each.text, inf):
            found.append(each.index)
        elif shown.query and shown.only_matches:
            continue
        lines_of = each.text.count("\n") + 1
        folded = lines_of >= 4 and shown.folded != (each.index in toggled)
        rows += [(each.index, part) for part in range(2 if folded else lines_of)]
    return rows, found


@settings(max_examples=300)
@given(STEPS, st.integers(1, 12))
def test_the_index_equals_a_scan_of_all_lines(steps: list[tuple[str, object]], capacity: int) -> None:
    rows, kept, end = LogRows(LogLevel.INFO, capacity), list[LogLine](), 0
    shown, wanted, toggled, pending = rows.filter, rows.filter, set[int](), set[int]()
    for what, value in steps:
        if what == "add":
            assert isinstance(value, list)
            new = [
                msgspec.structs.replace(
                    line(end + i, text, level, process, "J" if process == "p2" else None), generation=number
                )
                for i, (text, level, process, number) in enumerate(value)
            ]
            end += len(new)
            before, kept = len(rows), [*kept, *new][-capacity:]
            gone = rows.add(new).rows_evicted
            assert gone == before - sum(
                1 for row in range(len(rows)) if rows.at(row)[0].index < end - len(new)
            )
        elif what == "lose":  # the store evicted lines before they were read
            assert isinstance(value, int)
            end += value
            new = [line(end)]
            end, kept = end + 1, new
            rows.add(new)
        elif what == "filter":
            assert isinstance(value, LogFilter)
            rows.request(value)
            wanted = value
            pending = set(toggled) if wanted.folded == shown.folded else set()
        elif what == "work":
            assert isinstance(value, int)
            if rows.work(value * 8):
                rows.swap()
                shown, toggled = wanted, pending
        elif kept:
            assert isinstance(value, int)
            each = kept[value % len(kept)]
            if rows.toggle_fold(each):
                toggled ^= {each.index}
                if rows.scanned is not None and wanted.folded == shown.folded:
                    pending ^= {each.index}
        assert (rows.first, rows.end) == (kept[0].index if kept else rows.first, end)
        expected, found = plain(kept, shown, toggled)
        assert [(at.index, part) for at, part in map(rows.at, range(len(rows)))] == expected
        assert len(rows.index.matches) == len(found)
        assert [index for index in range(end) if rows.index.rank(index)] == found
        assert rows.filter == (wanted if rows.scanned is not None else shown)
    while rows.scanned is not None:
        if rows.work(8):
            rows.swap()
            shown, toggled = wanted, pending
    assert rows.filter == shown
    assert [(at.index, part) for at, part in map(rows.at, range(len(rows)))] == plain(kept, shown, toggled)[0]


def test_of_very_many_lines_the_newest_are_shown_at_once() -> None:
    rows = LogRows()
    rows.add([line(i, f"{i}") for i in range(AT_ONCE + 1)])
    assert (len(rows), rows.scanned) == (SLICE, 0)
    assert rows.at(len(rows) - 1)[0].index == AT_ONCE
    assert [rows.work() for _ in range(3)] == [False, False, True]
    rows.swap()
    assert len(rows) == AT_ONCE + 1


def test_a_scan_reports_progress_while_the_old_rows_stay() -> None:
    rows = LogRows()
    rows.add([line(i, f"{i}") for i in range(100)])
    rows.request(replace(rows.filter, query=parse("9"), only_matches=True))
    assert not rows.work(40)
    assert (rows.scanned, len(rows), rows.query) == (40, 100, parse("9"))
    rows.add([line(100, "99")])
    assert (len(rows), rows.work(60), rows.work(1)) == (101, False, True)
    rows.swap()
    assert (rows.scanned, len(rows.index.matches)) == (None, 20)


@pytest.mark.parametrize("only", [True, False])
@pytest.mark.parametrize("when", ["scan", "add"])
def test_a_search_that_takes_forever_is_cancelled(when: str, only: bool) -> None:
    rows = LogRows()
    slow = "x" * 60 + "!"
    rows.add([line(0, "a"), *([line(1, slow)] if when == "scan" else [])])
    rows.request(replace(rows.filter, query=parse("re:(x|xx)+$"), only_matches=only))
    if when == "add":
        assert rows.work()
        rows.swap()
        assert rows.add([line(1, slow)]).records_added == 1
    else:
        assert not rows.work()
    assert rows.search_cancelled
    assert not rows.query
    assert rows.work()
    rows.swap()
    assert (texts(rows), len(rows.index.matches)) == (["a", slow], 0)


def test_the_lines_of_one_slice_share_the_time_of_a_regular_expression() -> None:
    rows = LogRows()
    lines = [line(i, "x" * 26 + "!") for i in range(500)]  # each takes some milliseconds
    rows.add(lines)
    rows.request(replace(rows.filter, query=parse("re:(x|xx)+$")))
    assert not rows.work()
    assert rows.search_cancelled
    rows.work()
    rows.swap()
    assert (len(rows), len(rows.index.matches)) == (500, 0)


def test_matches_that_take_too_long_to_find_are_not_marked() -> None:
    query = parse("re:a|(x|xx)+$")
    assert list(query.spans("aa" + "x" * 60 + "!")) == [(0, 1), (1, 2)]


@pytest.mark.parametrize(
    ("typed", "found"),
    [
        ("re:^f.o$", True),
        ("re:FOO", False),
        (r"re:\Wfoo|\Sar", True),
        ("re:b$", False),
        ("f.o", False),
        ("bar", True),
        ("re:", False),
        ("", False),
    ],
)
def test_matches_of_queries(typed: str, found: bool) -> None:
    assert parse(typed).matches("foo\nbar", inf) is found


@pytest.mark.parametrize(
    "typed", ["re:(", "re:[", "re:*", "re:(?P<", "re:a{99999999999}", "re:" + "(" * 5000]
)
def test_an_invalid_regular_expression_is_a_one_line_error(typed: str) -> None:
    with pytest.raises(ValueError, match="invalid regular expression: ") as raised:
        parse(typed)
    assert "\n" not in str(raised.value)


@given(st.text(max_size=30))
def test_any_text_is_a_valid_query_or_refused(typed: str) -> None:
    try:
        query = parse("re:" + typed)
    except ValueError:
        return
    assert toggled(toggled(typed)) == typed or typed.startswith("re:")
    assert all(low < high for low, high in query.spans("some text\nand more"))


@given(st.text(min_size=1, max_size=5), st.text(max_size=40))
def test_a_plain_query_finds_exactly_its_text(typed: str, text: str) -> None:
    query = parse(typed) if not typed.startswith("re:") else Query()
    if typed != typed.lower():
        assert query.matches(text, inf) == (typed in text)
    assert query.matches(f"<{typed}>", inf) or not query


def test_a_very_long_record_ends_with_the_count_of_hidden_lines() -> None:
    rows = LogRows()
    text = "\n".join(map(str, range(1000)))
    rows.add([line(0, text)])
    assert len(rows) == 2, "it is folded"
    show(rows, folded=False)
    assert len(rows) == MAX_ROWS
    last = row_parts(line(0, text), MAX_ROWS - 1, Columns())
    assert last[-1] == ("… 801 more lines · Enter show all", Role.QUIET)


def test_the_width_is_that_of_the_widest_row_in_cells() -> None:
    rows = LogRows()
    rows.add([line(0, "漢字漢字"), line(1, "12345\n1234567")])
    assert rows.index.width == 8


def test_a_folded_record_shows_its_first_and_last_line() -> None:
    record = line(0, "Traceback\n  File\n    code\nBoom: no")
    folded = row_parts(record, 1, Columns(), parse("boom"), folded=True)
    assert "".join(text for text, _ in folded).strip() == "▸ 2 lines  Boom: no"
    assert ("▸ 2 lines  ", Role.FOLD) in folded
    assert ("Boom", Role.FOUND) in folded
    for layout in (Columns(), Columns(aligned=False)):
        row = "".join(text for text, _ in row_parts(record, 1, layout))
        assert row.strip() == "▾   File"
        assert {row[cell] for cell in fold_cells(record, 1, layout, folded=False)} == {"▾", " "}
        row = "".join(text for text, _ in row_parts(record, 1, layout, folded=True))
        cells = fold_cells(record, 1, layout, folded=True)
        assert row[cells.start : cells.stop] == "▸ 2 lines"
    assert not fold_cells(line(0, "a\nb"), 1, Columns(), folded=False)


def test_unfolded_records_stay_unfolded_under_another_filter() -> None:
    rows = LogRows()
    records = [line(0, "a\nb\nc\nd"), line(1, "e\nf\ng\nh")]
    rows.add(records)
    assert rows.toggle_fold(records[0])
    assert len(rows) == 6
    show(rows, query=parse("e"))
    assert len(rows) == 6
    rows.request(replace(rows.filter, query=NOTHING))
    assert rows.toggle_fold(records[1])
    assert rows.work()
    rows.swap()
    assert len(rows) == 8
    show(rows, folded=False)
    assert len(rows) == 8
    rows.toggle_fold(records[1])
    assert len(rows) == 6
    rows.fold_all()
    assert rows.work()
    rows.swap()
    assert len(rows) == 4


WRAPPED = st.text(st.sampled_from("ab 漢e\u0301\n"), max_size=60)


@given(WRAPPED, st.integers(1, 9), st.booleans())
def test_wrapped_rows_together_are_the_lines_and_none_is_too_wide(text: str, wrap: int, folded: bool) -> None:
    slices, lines = row_slices(text, folded=folded, wrap=wrap), shown_lines(text, folded=folded)
    assert len(slices) == row_count(text, folded=folded, wrap=wrap) <= MAX_ROWS
    for number, whole in enumerate(lines):
        pieces = [whole[start:end] for of, start, end in slices if of == number]
        assert "".join(pieces) == whole
        assert all(cell_len(piece) <= max(wrap, 2) for piece in pieces)


def test_a_filter_with_another_width_wraps_all_lines_again() -> None:
    rows = LogRows()
    rows.add([line(0, "x" * 25), line(1, "short"), line(2, "1\n2\n3\n" + "y" * 12)])
    assert len(rows) == 4
    show(rows, wrap=10)
    assert [rows.at(row)[1] for row in range(len(rows))] == [0, 1, 2, 0, 0, 1, 2, 3]
    rows.add([line(3, "z" * 11)])
    assert len(rows) == 10
    parts = row_parts(rows.at(2)[0], 2, Columns(), parse("x" * 7), wrap=10)
    assert "".join(text for text, _ in parts).strip() == "x" * 5
    assert {role for text, role in parts if "x" in text} == {Role.FOUND, Role.TEXT}
    show(rows, wrap=0)
    assert len(rows) == 5


def test_a_match_is_found_in_its_wrapped_row() -> None:
    record = line(0, "a" * 10 + "needle" + "\nb")
    assert match_place(record, parse("needle"), Columns(), wrap=10) == (
        1,
        Columns().prefix,
        Columns().prefix + 6,
    )
    assert match_place(record, parse("b"), Columns(), wrap=10)[0] == 2
