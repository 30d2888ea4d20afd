"""Files that rewrite themselves, and people who save often."""

from pathlib import Path

from agent_tui.generations.loops import LoopBreaker
from tests.fakes.clock import FakeClock

A, B = Path("/a.py"), Path("/b.py")


def test_a_file_that_each_load_rewrites_is_passed_over() -> None:
    clock = FakeClock()
    breaker = LoopBreaker(clock, limit=3, window_s=10)
    assert not breaker.note([A, B], during_load=True)
    clock.advance(1)
    assert not breaker.note([A], during_load=True)
    clock.advance(1)
    assert breaker.note([A], during_load=True) == {A}
    assert breaker.passed_over == {A}
    breaker.forget()
    assert not breaker.passed_over
    assert not breaker.note([A], during_load=True)


def test_the_window_slides() -> None:
    clock = FakeClock()
    breaker = LoopBreaker(clock, limit=3, window_s=10)
    for _ in range(20):
        assert not breaker.note([A], during_load=True)
        clock.advance(6)


def test_a_person_saves_as_often_as_they_like() -> None:
    clock = FakeClock()
    breaker = LoopBreaker(clock, limit=3, window_s=10)
    for _ in range(200):
        assert not breaker.note([A], during_load=False)
        clock.advance(0.1)
