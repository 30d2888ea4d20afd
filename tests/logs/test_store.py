"""The store's ring: bounded in lines and in bytes, whatever is stored."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_tui.logs import store as store_module
from agent_tui.logs.redactor import MASK, Redactor
from agent_tui.logs.ring import Ring, weight
from agent_tui.logs.store import LogStore
from agent_tui.model.logs import LogLevel, LogLine, LogSource, LogStream
from tests.fakes.clock import FakeClock

OUT = LogSource("p1", LogStream.STDOUT)


def line(index: int, text: str = "x", **fields: object) -> LogLine:
    return LogLine(index, 0.0, LogLevel.INFO, OUT, None, text, fields=fields)


@given(
    st.lists(st.lists(st.integers(0, 5_000), max_size=12), max_size=20),
    st.integers(1, 30),
    st.integers(500, 20_000),
)
def test_the_ring_keeps_the_newest_that_fit(batches: list[list[int]], capacity: int, limit: int) -> None:
    ring = Ring(capacity, limit)
    everything: list[LogLine] = []
    for sizes in batches:
        new = [line(len(everything) + i, "x" * size) for i, size in enumerate(sizes)]
        everything += new
        ring.extend(new)
        kept = everything[len(everything) - len(ring) :]
        assert ring.between(0, ring.end) == kept
        assert [ring.line(each.index) for each in kept] == kept
        assert (ring.line(ring.first - 1), ring.line(ring.end)) == (None, None)
        assert ring.bytes == sum(map(weight, kept))
        assert len(kept) <= capacity
        assert ring.bytes <= limit or len(kept) == 1
        if len(kept) < min(capacity, len(everything)):
            older = everything[len(everything) - len(kept) - 1]
            assert ring.bytes + weight(older) > limit, "nothing goes that had room"


def test_dropped_lines_free_their_memory() -> None:
    ring = Ring(capacity=10)
    for start in range(0, 50_000, 100):
        ring.extend([line(start + i) for i in range(100)])
    assert len(ring._lines) < 5_000
    ring.restart(7)
    assert (ring.first, ring.end, ring.bytes) == (7, 7, 0)


def test_fields_weigh_too_however_they_nest() -> None:
    assert weight(line(0, "x", a=[{"b": "y" * 9_000}])) > 9_000 + weight(line(0))


def test_a_store_is_bounded_in_bytes() -> None:
    store = LogStore(FakeClock(), max_bytes=50_000)
    store.add_many(OUT, LogLevel.INFO, ["x" * 1_000] * 100)
    assert 30 < store.end - store.first < 50
    assert store.end == 100


def test_lines_that_come_together_are_announced_once() -> None:
    store, told = LogStore(FakeClock()), []
    store.on_added(lambda: told.append(store.end))
    store.add_many(OUT, LogLevel.INFO, ["a", "b", "\x1b[1mc"])
    store.add_many(OUT, LogLevel.INFO, [])
    assert told == [3]
    assert [each.text for each in store.pull(0, 9)] == ["a", "b", "c"]


def test_lines_are_of_the_generation_that_their_process_runs() -> None:
    store = LogStore(FakeClock())
    store.set_owner("p1", 3)
    store.add(OUT, LogLevel.INFO, "agent's")
    store.add(LogSource("", LogStream.HOST), LogLevel.INFO, "host's")
    assert [each.generation for each in store.pull(0, 2)] == [3, 0]


def test_the_last_lines_of_a_process_that_ended_are_still_its_job_s(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store_module, "MAX_ENDED", 1)
    store = LogStore(FakeClock())
    for process in ("p1", "p2", "p3"):
        store.set_owner(process, 3, f"AJ_{process}")
    store.process_ended("p1")
    store.process_ended("p2")
    for process in ("p1", "p2", "p3"):
        store.add(LogSource(process, LogStream.STDOUT), LogLevel.INFO, "bye")
    assert [each.job_id for each in store.pull(0, 3)] == [None, "AJ_p2", "AJ_p3"]


def test_secrets_in_nested_fields_are_masked() -> None:
    redactor = Redactor()
    redactor.mask(["abcdefghijklmnop"])
    store = LogStore(FakeClock(), redactor=redactor)
    deep: object = "abcdefghijklmnop"
    for _ in range(50):
        deep = [deep]
    fields = {"a": {"b\x1b[1m": ["abcdefghijklmnop", 1, None]}, "deep": deep}
    store.add(OUT, LogLevel.INFO, "x", fields=fields)
    (kept,) = store.pull(0, 1)
    assert kept.fields["a"] == {"b": [MASK, 1, None]}
    assert "abcdefghijklmnop" not in str(kept.fields)
