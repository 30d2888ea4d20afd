"""The texts of the log pane: columns, owners, title, and record."""

import math
from dataclasses import replace

import pytest
from rich.cells import cell_len

from agent_tui.model.logs import LogLevel, LogLine, LogSource, LogStream
from agent_tui.tui.screens.log_pages import record_head
from agent_tui.tui.widgets.log_bars import Title, title_pieces
from agent_tui.tui.widgets.log_filter import Chip, owner_label, parse
from agent_tui.tui.widgets.log_text import Columns, Role, columns, match_place, owner_of, row_parts
from tests.fakes.engine import FakeEngine
from tests.tui import histories
from tests.tui.log_line import line


@pytest.mark.parametrize("width", [120, 80, 40])
def test_text_starts_after_the_columns(width: int) -> None:
    layout = columns(width)
    for process, job in (("p1", None), ("", None), ("p2", "AJ_k3Lm9QxTzW2a"), ("漢" * 20, None)):
        parts = row_parts(line(0, "hello", process=process, job=job), 0, layout)
        before = "".join(text for text, _ in parts[:-1])
        assert cell_len(before) == layout.prefix
        assert parts[-1] == ("hello", Role.TEXT)


def test_narrow_panes_keep_room_for_the_text() -> None:
    for width in range(52, 200):
        assert width - columns(width).prefix >= 40, width
    assert columns(100).millis
    assert columns(80) == columns(72) == Columns(millis=False, aligned=False)
    narrow = columns(62)
    assert (narrow.level, narrow.owner) == (2, 8)
    assert columns(58).owner == 0
    assert [text for text, _ in row_parts(line(0, "hello"), 0, narrow)][2:4] == ["I", " "]


def test_owners_are_short_and_sanitized() -> None:
    assert owner_of(line(0, process="p7")) == "p7"
    assert owner_of(line(0, job="AJ_k3Lm9QxTzW2a")) == "AJ_k3Lm9…"
    assert owner_of(line(0, process="")) == "agent-tui"
    assert owner_of(line(0, job="a\x1b[31m\n\u202eb")) == "a b"


@pytest.mark.parametrize("ts", [math.nan, math.inf, -math.inf, 1e300, -1e300])
def test_an_invalid_timestamp_is_shown_as_dashes(ts: float) -> None:
    bad = line(0, ts=ts)
    assert row_parts(bad, 0, Columns())[1] == ("--:--:--.--- ", Role.TIME)
    assert "--:--:--" in record_head(bad)


def test_matches_are_highlighted() -> None:
    parts = row_parts(line(0, "a [b] A [B] c"), 0, Columns(), parse("[b]"))
    assert [text for text, role in parts if role is Role.FOUND] == ["[b]", "[B]"]
    assert "".join(text for text, _ in parts).endswith("a [b] A [B] c")
    assert match_place(line(0, "x\n漢 boom"), parse("boom"), Columns(aligned=False)) == (1, 8, 12)


def test_the_owner_filter_shows_job_room_and_pid() -> None:
    engine = FakeEngine()
    histories.busy(engine)
    state = engine.bus.state
    assert owner_label("p1", state) == "p1 pid 8123"
    assert owner_label("AJ_k3Lm9QxTzW2a", state) == "AJ_k3Lm9… demo-1"
    assert owner_label("", None) == "agent-tui"


def written(title: Title, width: int) -> str:
    left, right = title_pieces(title, width)
    return " | ".join("".join(text for text, _ in piece.parts) for piece in [*left, *right])


def test_the_title_drops_its_least_important_parts_when_narrow() -> None:
    title = Title(
        LogLevel.INFO,
        (Chip("owner:p1", "p1 pid 8123"),),
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
        " | ⚠ 5,000 dropped | 50,000 lines | ‖ paused +1,234 new  f follow"
    )
    assert written(title, 94) == (
        "Logs | info ▾ | 1 filter ▾ | /boom 2/17 | ⚠ 5,000 dropped | ‖ paused +1,234 new  f follow"
    )
    assert written(title, 60) == "info ▾ | 1 filter ▾ | ‖ paused +1,234 new  f follow"
    picked = written(replace(title, picked=3, dropped=0, unseen=0), 66)
    assert picked == "info ▾ | 1 filter ▾ | /boom 2/17 | ‖ paused  f follow", "what is found is told first"
    assert "2 filters ▾" in written(replace(title, chips=title.chips * 2), 60)


@pytest.mark.parametrize(
    ("title", "part"),
    [
        (Title(LogLevel.WARN), "Logs | warn ▾ | all ▾ | / find | 0 lines | ● follow"),
        (Title(LogLevel.INFO, (Chip("a", "gen 2"), Chip("b", "warn+"))), "info ▾ | gen 2 × | warn+ × | /"),
        (Title(LogLevel.INFO, needle="x"), "/x no match"),
        (Title(LogLevel.INFO, needle="x", found=3), "/x 3 matches"),
        (Title(LogLevel.INFO, needle="x", found=3, scanned=40), "/x searching… 40%"),
        (Title(LogLevel.INFO, scanned=40), "filtering… 40%"),
        (Title(LogLevel.INFO, needle="x", found=3, only_matches=True), "/x 3 matches only"),
        (Title(LogLevel.INFO, follow=False), "‖ paused  f follow"),
        (Title(LogLevel.INFO, picked=12), "12 selected y | ● follow"),
    ],
)
def test_parts_of_the_title(title: Title, part: str) -> None:
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


def test_the_record_page_shows_json_fields_and_a_tracebacks_place() -> None:
    head = record_head(line(0, '{"msg": "hi", "user": {"id": 3}, "bad\\u0007": "[/x]"}'))
    assert all(fact in head for fact in ("msg   hi", 'user  {"id": 3}', "bad   [/x]"))
    head = record_head(
        line(0, 'Traceback\n  File "a.py", line 3, in f\n    x\n  File "/b c.py", line 12, in g\nE')
    )
    assert "at    /b c.py:12" in head
    for text in ("{no", "{" * 100_000, '["a"]', "[" * 100_000, '{"a":' * 50_000, "{}"):
        assert "time  " in record_head(line(0, text))
