"""The store and the thread that fills it, over real pipes."""

import asyncio
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from agent_tui.logs.intake import MAX_PENDING, Allowance, LogIntake
from agent_tui.logs.redactor import Redactor
from agent_tui.logs.store import LogStore
from agent_tui.model.clock import SystemClock
from agent_tui.model.logs import LineRecord, LogLevel, LogSource, LogStream
from tests.fakes.clock import FakeClock
from tests.fakes.scripted_child import until

OUT = LogSource("p1", LogStream.STDOUT)


@contextmanager
def intake_of(
    allowance: Allowance | None = None, capacity: int = 1000
) -> Iterator[tuple[LogIntake, LogStore]]:
    attached.clear()
    before = set(Path("/proc/self/fd").iterdir())
    clock = SystemClock()
    store = LogStore(clock, capacity)
    intake = LogIntake(store, clock, allowance)
    try:
        yield intake, store
    finally:
        intake.close()
        assert set(Path("/proc/self/fd").iterdir()) <= before


def pipe_to(intake: LogIntake, source: LogSource = OUT) -> int:
    read, write = os.pipe()
    attached.add(str(Path(f"/proc/self/fd/{read}").readlink()))
    intake.attach(read, source)
    return write


attached: set[str] = set()
"""The pipes that an intake got, as `/proc` names them."""


def all_is_read() -> bool:
    """Return whether every pipe was read to its end and closed."""
    for each in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):  # closed since it was listed
            if str(each.readlink()) in attached:
                return False
    return True


def texts(store: LogStore) -> list[str]:
    return [line.text for line in store.pull(0, store.end)]


async def test_lines_are_known_by_their_descriptor_and_a_last_one_needs_no_newline() -> None:
    with intake_of() as (intake, store):
        write, errors = pipe_to(intake), pipe_to(intake, LogSource("p1", LogStream.STDERR))
        os.write(write, "grüß\ngott".encode())
        os.write(errors, b"\x1b[31moops\x1b[0m\n")
        os.close(write)
        os.close(errors)
        await until(all_is_read)
        by_stream = {line.text: line.source.stream for line in store.pull(0, store.end)}
        assert by_stream == {"grüß": "stdout", "gott": "stdout", "oops": "stderr"}


async def test_a_traceback_on_stderr_is_an_error_and_one_on_stdout_is_what_it_printed() -> None:
    with intake_of() as (intake, store):
        printed = b"begin\nTraceback (most recent call last):\n  File 'a.py', line 1\nValueError: no\ngo on\n"
        for stream in (LogStream.STDERR, LogStream.STDOUT):
            write = pipe_to(intake, LogSource(stream, stream))
            os.write(write, printed[:30])
            os.write(write, printed[30:])
            os.close(write)
            await until(all_is_read)
        levels = [line.level for line in store.pull(0, store.end)]
        info, error = LogLevel.INFO, LogLevel.ERROR
        assert levels == [info, error, error, error, info] + [info] * 5


async def test_invalid_bytes_and_split_characters_survive() -> None:
    with intake_of() as (intake, store):
        write = pipe_to(intake)
        euro = "€\n".encode()
        os.write(write, euro[:1])
        await until(lambda: True)
        os.write(write, euro[1:] + b"\xff\xfe\n")
        os.close(write)
        await until(all_is_read)
        assert texts(store) == ["€", "\ufffd\ufffd"]


async def test_more_than_the_allowance_is_dropped_with_a_count() -> None:
    with intake_of(Allowance(lines=10, window_s=0.05)) as (intake, store):
        write = pipe_to(intake)
        os.write(write, b"x\n" * 500)
        os.close(write)
        await until(all_is_read)
        assert store.dropped == 490
        assert texts(store)[:10] == ["x"] * 10
        assert texts(store)[-1] == "490 lines of stdout dropped: too many to show"


async def test_the_rest_of_a_too_long_line_is_dropped() -> None:
    with intake_of() as (intake, store):
        write = pipe_to(intake)

        def send() -> None:
            # A pipe holds 64 KB: what is written here was read before, in pieces.
            for part in (b"x" * (MAX_PENDING - 8), b"0123456789abcdef", b"y" * 2 * MAX_PENDING, b"\nnext\n"):
                while part:
                    part = part[os.write(write, part) :]
            os.close(write)

        await asyncio.to_thread(send)
        await until(all_is_read)
        assert [text[:5] for text in texts(store)] == ["xxxxx", "next"]
        assert "(cut at " in texts(store)[0]


async def test_a_flood_never_makes_the_writer_wait_for_long() -> None:
    with intake_of(Allowance(lines=100)) as (intake, store):
        write = pipe_to(intake)
        for _ in range(200):
            os.write(write, b"y" * 999 + b"\n" + b"z" * 3000 + b"\n")
        os.close(write)
        await until(all_is_read)
        assert store.dropped == 300


async def test_closing_keeps_what_the_pipes_still_hold() -> None:
    with intake_of() as (intake, store):
        write = pipe_to(intake)
        os.write(write, b"last words")
        os.close(write)
    assert texts(store) == ["last words"]


def test_the_ring_keeps_the_newest_and_indexes_never_repeat() -> None:
    store = LogStore(FakeClock(), capacity=3)
    for number in range(5):
        store.add(OUT, LogLevel.INFO, str(number))
    assert (store.first, store.end) == (2, 5)
    assert [(line.index, line.text) for line in store.pull(0, 99)] == [(2, "2"), (3, "3"), (4, "4")]
    assert [line.text for line in store.pull(3, 4)] == ["3"]
    assert store.pull(0, 2) == ()


def test_lines_belong_to_the_job_that_their_process_runs() -> None:
    store = LogStore(FakeClock())
    store.add(OUT, LogLevel.INFO, "prewarm")
    store.set_owner("p1", 0, "AJ_1")
    store.add(OUT, LogLevel.INFO, "entry")
    assert [line.job_id for line in store.pull(0, 2)] == [None, "AJ_1"]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("the secret is abcdefghijklmnop!", "the secret is •••!"),
        ("token eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhZ2VudCJ9.c2lnbmF0dXJl end", "token ••• end"),
        ("the word secret stays", "the word secret stays"),
    ],
)
def test_secrets_and_tokens_are_masked(text: str, shown: str) -> None:
    redactor = Redactor()
    redactor.mask(["abcdefghijklmnop", "secret", ""])
    store = LogStore(FakeClock(), redactor=redactor)
    store.add(OUT, LogLevel.INFO, text)
    assert texts(store) == [shown]


async def test_lines_that_are_records_are_stored_as_such_and_in_order() -> None:
    def parse(text: str) -> LineRecord | None:
        if not text.startswith("!"):
            return None
        return LineRecord(LogLevel.WARN, 5.0, text[1:], "pino", {"job": 4})

    with intake_of() as (intake, store):
        read, write = os.pipe()
        attached.add(str(Path(f"/proc/self/fd/{read}").readlink()))
        intake.attach(read, OUT, parse)
        os.write(write, b"one\n!two\n!two\nthree\n")
        os.close(write)
        await until(all_is_read)
        lines = list(store.pull(0, store.end))
        assert [each.text for each in lines] == ["one", "two", "two", "three"]
        assert lines[1].source == LogSource("p1", LogStream.RECORD)
        assert (lines[1].level, lines[1].ts, lines[1].logger) == (LogLevel.WARN, 5.0, "pino")
        assert lines[1].fields == {"job": 4}
