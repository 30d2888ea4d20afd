"""Export of log lines as text and JSON lines, and typed times."""

import contextlib
import json
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_tui.model.logs import LogLevel, LogLine, LogSource, LogStream
from agent_tui.tui.screens.log_pages import default_name, write
from agent_tui.tui.widgets.log_text import as_json, as_text, parse_time

RECORD = LogLine(
    7,
    3_600.25,
    LogLevel.WARN,
    LogSource("p1", LogStream.RECORD),
    "AJ_1",
    "slow\n  detail\n",
    "my.logger",
    {"n": math.nan, "list": [1, math.inf, {"a": "b"}]},
    3,
)


def test_a_line_as_text() -> None:
    assert as_text(RECORD) == "1970-01-01 01:00:00.250 WARN  AJ_1 my.logger: slow\n  detail"
    host = LogLine(0, math.nan, LogLevel.INFO, LogSource("", LogStream.HOST), None, "hello")
    assert as_text(host) == "--:--:--.--- INFO  agent-tui hello"


def test_a_line_as_json_has_the_fields_of_a_log_event() -> None:
    assert json.loads(as_json(RECORD)) == {
        "event": "log",
        "ts": 3600.25,
        "level": "warn",
        "source": "p1:record",
        "job_id": "AJ_1",
        "generation": 3,
        "text": "slow\n  detail\n",
        "logger": "my.logger",
        "fields": {"n": None, "list": [1, None, {"a": "b"}]},
    }


def test_files_are_overwritten_only_on_request(tmp_path: Path) -> None:
    file = tmp_path / "out.log"
    assert write(str(file), [RECORD]) == (file, 1)
    with pytest.raises(FileExistsError):
        write(str(file), [])
    assert file.read_text().startswith("1970-01-01")
    write(str(file), [RECORD] * 3, overwrite=True)
    assert file.read_text().count("slow") == 3
    with pytest.raises(OSError, match="is not a regular file"):
        write(str(tmp_path), [], overwrite=True)


@pytest.mark.parametrize("overwrite", [True, False])
def test_a_failed_write_leaves_no_file_and_keeps_the_old_one(tmp_path: Path, overwrite: bool) -> None:
    file = tmp_path / "out.log"
    if overwrite:
        file.write_text("before")

    def lines() -> object:
        yield RECORD
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"):
        write(str(file), lines(), overwrite=overwrite)  # type: ignore[arg-type]
    assert [path.read_text() for path in tmp_path.iterdir()] == (["before"] if overwrite else [])


def test_the_suggested_name() -> None:
    assert default_name(3_600.0) == "agent-tui-19700101-010000.log"


NOON = 12 * 3_600.0


@pytest.mark.parametrize(
    ("typed", "at"),
    [
        ("12:04:31", NOON + 271),
        (" 10:15 ", NOON - 6_300),
        ("9:05", NOON - 10_500),
        ("11:59:59.5", NOON - 0.5),
        ("-30s", NOON - 130),
        ("-30", NOON - 130),
        ("+2m", NOON + 20),
        ("-1.5h", NOON - 5_500),
        ("+ 250 ms", NOON - 99.75),
        ("-1d", NOON - 86_500),
    ],
)
def test_times_are_parsed(typed: str, at: float) -> None:
    assert parse_time(typed, here=NOON - 100, oldest=0.0, newest=NOON) == at


def test_a_time_of_day_after_the_newest_line_means_yesterday() -> None:
    assert parse_time("23:00", 0.0, oldest=NOON, newest=NOON + 86_400) == 23 * 3_600
    assert parse_time("11:00", 0.0, oldest=NOON, newest=NOON + 86_400) == 35 * 3_600
    assert parse_time("23:00", 0.0, oldest=NOON + 80_000, newest=NOON + 86_400) == 47 * 3_600


@pytest.mark.parametrize(
    "typed", ["", "noon", "24:00", "1:60", "1:00:60", "12", "-", "+1y", "١٢:٠٠", "[/x]", "-9" * 40]
)
def test_an_invalid_time_is_reported(typed: str) -> None:
    with pytest.raises(ValueError):
        parse_time(typed, 0.0, 0.0, 0.0)


@given(st.text(max_size=12), st.floats(), st.floats(), st.floats())
def test_any_typed_time_and_any_timestamp_are_handled(
    typed: str, here: float, oldest: float, newest: float
) -> None:
    for text in (typed, "12:00", "+1s"):
        with contextlib.suppress(ValueError):
            parse_time(text, here, oldest, newest)
