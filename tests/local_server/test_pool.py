"""The rules of selection, without any connection."""

from dataclasses import dataclass
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from livekit.protocol.agent import JobType

from agent_tui.local_server.pool import TARGET_LOAD, Pool, PoolKey, ViolationError, gate_open, pick

_KEY = PoolKey("x", "", JobType.JT_ROOM, "")


@dataclass(frozen=True, slots=True)
class Someone:
    worker_id: str
    load: float = 0.0
    available: bool = True
    key: PoolKey = _KEY


def test_the_gate_compares_in_32_bits() -> None:
    assert TARGET_LOAD != 0.7
    assert not gate_open([Someone("a", TARGET_LOAD)])
    assert gate_open([Someone("a", 0.69)])
    assert not gate_open([Someone("a", 0.1, available=False)])
    assert not gate_open([])
    assert gate_open([Someone("a", 0.99), Someone("b", 0.5)])
    assert not gate_open([Someone("a", float("nan"))])


def test_weights_are_one_minus_load() -> None:
    """1000 picks; the standard deviation of each share is below 0.016."""
    rng = Random(7)
    workers = [
        Someone("a", 0.75),
        Someone("b", 0.6),
        Someone("full", 0.0, available=False),
        Someone("over", 1.2),
    ]
    picks = [pick(workers, rng) for _ in range(1000)]
    counts = {worker.worker_id: picks.count(worker) for worker in workers}
    assert counts["full"] == counts["over"] == 0
    assert counts["a"] / 1000 == pytest.approx(0.25 / 0.65, abs=0.05)


@given(st.lists(st.floats(allow_nan=True, allow_infinity=True, width=32), max_size=6), st.integers())
def test_pick_returns_none_without_weight(loads: list[float], seed: int) -> None:
    workers = [Someone(str(number), load) for number, load in enumerate(loads)]
    picked = pick(workers, Random(seed))
    if picked is None:
        assert not any(load < 1 for load in loads)
    else:
        assert picked.load < 1


KEYS = st.builds(
    PoolKey,
    st.text("ab_", max_size=3),
    st.text("ab_", max_size=3),
    st.sampled_from(JobType.values()),
    st.text("ab", max_size=2),
)


@given(st.lists(KEYS, max_size=8))
def test_a_topic_has_one_key(keys: list[PoolKey]) -> None:
    pool: Pool[Someone] = Pool()
    for number, key in enumerate(keys):
        taken = any(other.key != key and other.key.topic == key.topic for other in pool)
        before = len(pool)
        if taken:
            with pytest.raises(ViolationError):
                pool.add(Someone(str(number), key=key))
            assert len(pool) == before
        else:
            pool.add(Someone(str(number), key=key))
            assert pool.get(str(number)) in pool.of(key)


def test_topics() -> None:
    """worker-protocol §4.6: name, namespace, both, and the deployment behind them."""
    room = JobType.JT_ROOM
    assert PoolKey("a", "", room, "").topic == ("a", room)
    assert PoolKey("", "n", room, "").topic == ("n", room)
    assert PoolKey("a", "n", room, "").topic == PoolKey("a_n", "", room, "").topic
    assert PoolKey("a", "", room, "blue").topic == ("a_blue", room)
    assert PoolKey("", "", room, "blue").topic == ("_blue", room)
