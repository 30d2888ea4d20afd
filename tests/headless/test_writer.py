"""Writing to a reader that is slow, does not read, or has gone."""

import os
import queue
import threading
import time
from pathlib import Path

import pytest

from agent_tui.headless.writer import Writer


def collect(fd: int, into: list[bytes]) -> threading.Thread:
    def read() -> None:
        while data := os.read(fd, 65536):
            into.append(data)

    thread = threading.Thread(target=read)
    thread.start()
    return thread


def test_lines_are_written_in_order_and_completely() -> None:
    read, write = os.pipe()
    out: list[bytes] = []
    reading = collect(read, out)
    writer = Writer(write, "utf-8", lambda error: None)
    for number in range(5000):
        writer.write(f"line {number} ✓")
    writer.close()
    os.close(write)
    reading.join()
    os.close(read)
    assert b"".join(out).decode().splitlines() == [f"line {number} ✓" for number in range(5000)]


def test_a_reader_that_does_not_read_delays_nothing_and_only_loses_lines(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("agent_tui.headless.writer.PATIENCE_S", 0.05)
    read, write = os.pipe()
    writer = Writer(write, "utf-8", lambda error: None, most=100)
    for _ in range(1000):
        writer.write("x" * 1000)
    assert writer.take_dropped() > 500
    assert writer.take_dropped() == 0
    assert 30 < writer.close() <= 100
    assert not writer._thread.is_alive()
    os.set_blocking(read, False)
    assert os.read(read, 1 << 20)[-1:] == b"\n"
    os.close(read)
    os.close(write)


def test_no_line_is_cut_at_the_end_for_a_reader_that_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agent_tui.headless.writer.PATIENCE_S", 0.02)
    monkeypatch.setattr("agent_tui.headless.writer.CHECK_STOP_S", 0.01)
    read, write = os.pipe()
    out: list[bytes] = []
    writer = Writer(write, "utf-8", lambda error: None)
    for _ in range(50):
        writer.write("x" * 30_000)
    left: list[int] = []
    closing = threading.Thread(target=lambda: left.append(writer.close()))
    closing.start()
    while not writer._stopping:  # nothing was read: a line is partly written, and no other is started
        time.sleep(0.01)
    reading = collect(read, out)
    closing.join()
    os.close(write)
    reading.join()
    os.close(read)
    lines = b"".join(out).split(b"\n")
    assert lines.pop() == b""
    assert {len(line) for line in lines} == {30_000}
    assert len(lines) + left[0] == 50


def test_a_reader_that_has_gone_and_a_full_disk_are_reported_once() -> None:
    errors: list[OSError] = []
    read, write = os.pipe()
    os.close(read)
    writer = Writer(write, "utf-8", errors.append)
    writer.write("x")
    assert writer.close() == 0, "lines without a reader do not count"
    os.close(write)
    assert [type(error) for error in errors] == [BrokenPipeError]
    if Path("/dev/full").exists():
        full = os.open("/dev/full", os.O_WRONLY)
        writer = Writer(full, "utf-8", errors.append)
        writer.write("x")
        writer.close()
        os.close(full)
        assert errors[1].errno == 28


def test_a_reader_that_goes_is_noticed_without_a_write(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agent_tui.headless.writer.CHECK_READER_S", 0.001)
    told: queue.Queue[OSError] = queue.Queue()
    read, write = os.pipe()
    writer = Writer(write, "utf-8", told.put)
    writer.write("x")
    assert os.read(read, 10) == b"x\n"
    with pytest.raises(queue.Empty):
        told.get(timeout=0.05)
    os.close(read)
    assert isinstance(told.get(timeout=5), BrokenPipeError)
    writer.close()
    os.close(write)


def test_characters_that_the_terminal_cannot_show_are_escaped() -> None:
    read, write = os.pipe()
    writer = Writer(write, "ascii", lambda error: None)
    writer.write("✓ ok \udce9")
    writer.close()
    os.close(write)
    assert os.read(read, 100) == b"\\u2713 ok \\udce9\n"
    os.close(read)
