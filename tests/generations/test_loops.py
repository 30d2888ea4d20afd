"""Files that rewrite themselves, and people who save often."""

from pathlib import Path

from agent_tui.generations.loops import MOST_HOLD_S, LoopBreaker

A, B = Path("/a.py"), Path("/b.py")


def test_a_file_that_each_load_rewrites_is_passed_over() -> None:
    breaker = LoopBreaker(limit=3)
    assert not breaker.note([A, B], 0.1)
    assert not breaker.note([A], 0.1)
    assert breaker.counted == {A, B}
    assert breaker.note([A], 0.1) == {A}
    assert breaker.passed_over == {A}
    breaker.forget()
    assert not breaker.passed_over
    assert not breaker.note([A], 0.1)


def test_one_load_that_leaves_it_as_it_was_ends_the_row() -> None:
    breaker = LoopBreaker(limit=3)
    for _ in range(200):
        assert not breaker.note([A], 0.1)
        assert not breaker.note([A], 0.1)
        breaker.acquit([A, B])
    assert not breaker.counted


def test_before_it_is_sure_it_has_nothing_loaded_for_longer_than_the_last_change_took() -> None:
    breaker = LoopBreaker(suspect_after=2, limit=9)
    assert breaker.hold_s([]) == 0
    breaker.note([A], 0.5)
    assert breaker.hold_s([A]) == 0
    breaker.note([A], 0.6)
    assert breaker.hold_s([A]) == 1.2
    assert breaker.hold_s([A, B]) == 0  # a save of something else does not wait
    breaker.note([A], 60.0)
    assert breaker.hold_s([A]) == MOST_HOLD_S
