"""The descriptor limit, with limits that the test sets; and the real ones of a child."""

import asyncio
import resource
import subprocess
import sys

import pytest

from agent_tui.system.descriptors import RESERVE, Descriptors


class Limits:
    """The limits of this process, and those set for others."""

    def __init__(self, soft: int, hard: int) -> None:
        self.now = soft, hard
        self.others: dict[int, tuple[int, int]] = {}
        self.descriptors = Descriptors(lambda: self.now, self.put, self.others.__setitem__)

    def put(self, limits: tuple[int, int]) -> None:
        if limits[1] > self.now[1] or limits[0] > limits[1]:
            raise ValueError("not allowed to raise maximum limit")
        self.now = limits


def test_the_limit_is_raised_to_the_hard_one_less_the_reserve() -> None:
    limits = Limits(1024, 20_000)
    limits.descriptors.raise_limit()
    limits.descriptors.raise_limit()
    assert limits.now == (20_000 - RESERVE, 20_000)
    assert limits.descriptors.limit == 20_000 - RESERVE


def test_a_low_hard_limit_keeps_a_small_reserve() -> None:
    limits = Limits(64, 64)
    limits.descriptors.raise_limit()
    assert limits.now == (56, 64)


def test_children_get_the_original_limit() -> None:
    limits = Limits(1024, 20_000)
    limits.descriptors.give_back(7)
    assert limits.others == {}
    limits.descriptors.raise_limit()
    limits.descriptors.give_back(8)
    assert limits.others == {8: (1024, 20_000)}


def test_the_reserve_lasts_while_it_is_used() -> None:
    limits = Limits(1024, 20_000)
    limits.descriptors.raise_limit()
    with limits.descriptors.reserve():
        with limits.descriptors.reserve():
            assert limits.now[0] == 20_000
            assert limits.descriptors.limit == 20_000 - RESERVE
        assert limits.now[0] == 20_000
    assert limits.now[0] == 20_000 - RESERVE


def test_a_limit_lowered_from_outside_stays() -> None:
    limits = Limits(1024, 20_000)
    limits.descriptors.raise_limit()
    limits.now = 20, 30
    with limits.descriptors.reserve():
        assert limits.now == (30, 30)
        limits.now = 10, 10
    assert limits.now == (10, 10)


@pytest.mark.real
@pytest.mark.skipif(not hasattr(resource, "prlimit"), reason="no prlimit(2)")
async def test_a_real_child_gets_its_limit_back() -> None:
    original = resource.getrlimit(resource.RLIMIT_NOFILE)
    descriptors = Descriptors()
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (original[1] // 2, original[1]))
        descriptors.raise_limit()
        assert resource.getrlimit(resource.RLIMIT_NOFILE)[0] > original[1] // 2
        code = "import resource; input(); print(resource.getrlimit(resource.RLIMIT_NOFILE)[0])"
        child = subprocess.Popen(
            [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        descriptors.give_back(child.pid)
        out, _ = await asyncio.to_thread(child.communicate, "\n")
        assert int(out) == original[1] // 2
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, original)
