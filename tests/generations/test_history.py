"""Which loads are kept, which are dropped first, and how they are compared."""

import difflib
import itertools
import random

import pytest

from agent_tui.generations.diffs import LARGEST, difference
from agent_tui.generations.generation import StepTimes
from agent_tui.generations.history import MOST_KEPT, History, Loaded
from agent_tui.generations.sources import Snapshot
from agent_tui.model.errors import UserError
from tests.fakes.clock import FakeClock


def kept(number: int, good: bool = True, rolled_back_to: int = 0, **files: bytes) -> Loaded:
    modules = {f"/p/{name}.py": content for name, content in files.items()}
    return Loaded(number, Snapshot(modules, {}), good, rolled_back_to)


def diff(old: bytes | None, new: bytes | None, most_lines: int = 100) -> list[str]:
    """Return a diff without its summary line."""
    before = kept(1) if old is None else kept(1, agent=old)
    after = kept(2) if new is None else kept(2, agent=new)
    return difference(before, after, "/p", most_lines=most_lines).split("\n")[1:]


# -- keeping loads ---------------------------------------------------------------------------------------


def test_equal_content_is_held_once() -> None:
    history, large = History(), b"x" * 1000
    history.keep(kept(1, large=large, agent=b"1"))
    again = history.keep(kept(2, large=bytes(bytearray(large)), agent=b"22"))
    assert again.snapshot.modules["/p/large.py"] is large
    assert history.held_bytes == 1003


def test_the_oldest_loads_are_dropped_first_by_number_and_size() -> None:
    history = History(most_good=3)
    for number in range(1, 6):
        history.keep(kept(number, agent=b"%d" % number))
    assert [history.loadable(number).number for number in (3, 4, 5)] == [3, 4, 5]
    with pytest.raises(UserError, match="generation 2 is no longer kept: the oldest is 3"):
        history.loadable(2)
    small = History(most_bytes=10)
    for number in range(1, 4):
        small.keep(kept(number, agent=b"%d" % number * 4))
    assert small.held_bytes == 8
    small.keep(kept(4, agent=b"far too large"))
    assert small.loadable(4).number == 4
    with pytest.raises(UserError, match="the oldest is 4"):
        small.loadable(3)


def test_failed_loads_do_not_pile_up() -> None:
    history = History()
    history.keep(kept(1, agent=b"good"))
    for number in range(2, 100):
        history.keep(kept(number, good=False, agent=b"%d" % number))
    assert history.pair(99)[0].number == 98
    with pytest.raises(UserError, match=f"the oldest is {100 - MOST_KEPT}"):
        history.pair(1)


def test_a_load_is_compared_with_the_one_before_it_failed_or_not() -> None:
    history = History()
    for each in (kept(1), kept(3, good=False), kept(4), kept(5, good=False, rolled_back_to=1), kept(6)):
        history.keep(each)
    assert [(b.number, a.number) for b, a in map(history.pair, (3, 4, 5, 6))] == [
        (1, 3),
        (3, 4),
        (4, 5),
        (4, 6),  # 5 never ran, and was not on disk
    ]
    assert history.pair(6, 1)[0].number == 1
    for number, why in {
        1: "was the first",
        2: "a later save overtook it",
        7: "there is no",
        0: "there is no",
    }.items():
        with pytest.raises(UserError, match=why):
            history.pair(number)
    with pytest.raises(UserError, match="generation 3 failed to load"):
        history.loadable(3)


def test_the_oldest_kept_load_has_nothing_before_it() -> None:
    history = History(most_good=1)
    history.keep(kept(1))
    history.keep(kept(2))
    with pytest.raises(UserError, match="generation 2 is the oldest one kept"):
        history.pair(2)


# -- diffs ------------------------------------------------------------------------------------------------


def test_a_diff_has_context_and_a_summary_line() -> None:
    old = b"".join(b"line %d\n" % number for number in range(20))
    text = difference(kept(4, agent=old), kept(6, agent=old.replace(b"line 9\n", b"changed\n")), "/p")
    assert text.split("\n") == [
        "generation 6 compared with 4: 1 file, +1 -1 lines",
        "--- agent.py",
        "+++ agent.py",
        "@@ -7,7 +7,7 @@",
        *(f" line {number}" for number in (6, 7, 8)),
        "-line 9",
        "+changed",
        *(f" line {number}" for number in (10, 11, 12)),
    ]


def test_new_and_deleted_files() -> None:
    assert diff(None, b"a\n") == ["--- /dev/null", "+++ agent.py", "@@ -0,0 +1 @@", "+a"]
    assert diff(b"a\n", None)[:2] == ["--- agent.py", "+++ /dev/null"]
    assert diff(None, b"") == ["=== agent.py added, empty"]
    assert diff(b"", None) == ["=== agent.py deleted, empty"]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        (b"a\n", b"\xff\xfe", "=== agent.py: not UTF-8 text, 2 → 2 bytes"),
        (b"a\0b", b"a\n", "=== agent.py: not UTF-8 text, 3 → 2 bytes"),
        (b"a\nb\n", b"a\r\nb\r\n", "=== agent.py: only line endings changed"),
        (b"a", b"a\n", "=== agent.py: only line endings changed"),
        (b"", b"x" * (LARGEST + 1), f"=== agent.py: too large to compare, 0 → {LARGEST + 1} bytes"),
    ],
)
def test_files_without_comparable_lines_are_named(old: bytes, new: bytes, said: str) -> None:
    assert diff(old, new) == [said]


def test_environment_files_are_only_named() -> None:
    before = Loaded(1, Snapshot({}, {"/p/.env": b"1", "/p/.env.old": b"1"}), True)
    after = Loaded(2, Snapshot({}, {"/p/.env": b"2", "/elsewhere/x.toml": b"1"}), True)
    assert difference(before, after, "/p").split("\n") == [
        "generation 2 compared with 1: 3 files, +0 -0 lines",
        "=== /elsewhere/x.toml added: content not kept",
        "=== .env changed: content not kept",
        "=== .env.old deleted: content not kept",
    ]


def test_without_a_difference_it_says_so() -> None:
    assert difference(kept(1, agent=b"a"), kept(2, agent=b"a"), "/p") == (
        "generation 2 compared with 1: no file changed"
    )


def test_a_huge_diff_is_cut_with_a_count() -> None:
    lines = diff(b"", b"x\n" * 1000, most_lines=50)
    assert len(lines) == 51
    assert lines[-1] == "… 953 more lines"


def test_comparing_files_of_many_equal_lines_has_a_time_limit() -> None:
    old, new = ("".join(f"{number * step % 150}\n" for number in range(2000)).encode() for step in (1, 7))
    clock = itertools.count()
    late = difference(kept(1, agent=old), kept(2, agent=new), "/p", now=lambda: next(clock) / 10)
    assert late.splitlines()[1].startswith("=== agent.py: too slow to compare, ")
    lines = b"x%d\n" * 2000 % tuple(range(2000))
    assert "too slow" in diff(lines * 25, lines * 26)[0]
    assert "too slow" not in diff(lines, lines[:-10])[0]


def test_hunks_are_as_difflib_has_them() -> None:
    rng = random.Random(1)
    for _ in range(200):
        before, after = ([rng.choice("abcdefgh") for _ in range(rng.randrange(1, 30))] for _ in range(2))
        old, new = ("".join(f"{line}\n" for line in lines).encode() for lines in (before, after))
        expected = list(difflib.unified_diff(before, after, "agent.py", "agent.py", n=3, lineterm=""))
        if expected:
            assert diff(old, new) == expected


def test_characters_that_hide_something_are_made_visible() -> None:
    hostile = "ok = 1 \u202e}\x1b[2K\x1b]0;title\r# over it\x07\n".encode()
    assert diff(b"ok = 1\n", hostile)[-2:] == ["+ok = 1 <U+202E>}␛[2K␛]0;title", "+# over it␇"]
    odd = Loaded(2, Snapshot({"/p/a\n+++ b\x1b[m.py": b"x\n"}, {}), True)
    assert difference(kept(1), odd, "/p").split("\n")[2] == "+++ a␤+++ b␛[m.py"


def test_lines_that_look_like_headings_are_counted_as_lines() -> None:
    text = difference(kept(1, agent=b"-- a\n"), kept(2, agent=b"++ a\n"), "/p")
    assert text.split("\n")[0].endswith("1 file, +1 -1 lines")


# -- steps ------------------------------------------------------------------------------------------------


def test_steps_count_from_the_end_of_the_one_before_and_never_backwards() -> None:
    clock = FakeClock()
    steps = StepTimes(clock, clock.monotonic() - 0.5)
    steps.end("seen", clock.monotonic() - 0.25)
    clock.advance(1.0)
    steps.end("read")
    steps.end("control", clock.monotonic() - 5)
    taken = steps.taken
    assert (taken.seen, taken.read, taken.control, taken.load) == (250.0, 1250.0, 0.0, None)
    assert [name for name, _ in taken.measured] == ["seen", "read", "control"]
