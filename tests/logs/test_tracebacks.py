"""Which stderr lines are errors, in output of real interpreters and in similar output."""

import subprocess
import sys
import textwrap

import pytest

from agent_tui.logs.tracebacks import StderrLevels
from agent_tui.model.logs import LogLevel


def errors(text: str) -> list[str]:
    levels = StderrLevels()
    return [line for line in text.splitlines() if levels.level(line) is LogLevel.ERROR]


def printed(code: str) -> str:
    """Return what a program prints to stderr between two ordinary lines."""
    code = "import sys\nprint('before', file=sys.stderr, flush=True)\n" + textwrap.dedent(code)
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False).stderr


@pytest.mark.real
@pytest.mark.parametrize(
    "code",
    [
        "1 / 0",
        "try:\n    1 / 0\nexcept ZeroDivisionError as e:\n    raise KeyError('x') from e",
        "def f(): f()\nf()",
        "import os, faulthandler; faulthandler.enable(); os.abort()",
        "import ctypes, faulthandler; faulthandler.enable(); ctypes.string_at(0)",
    ],
)
def test_all_that_python_prints_when_it_fails_is_an_error(code: str) -> None:
    first, *rest = printed(code).splitlines()
    assert first == "before"
    assert rest
    assert errors("\n".join([first, *rest, "after"])) == rest


@pytest.mark.real
@pytest.mark.parametrize(
    "code",
    [
        "import threading; t = threading.Thread(target=lambda: 1 / 0); t.start(); t.join()",
        "class A:\n    def __del__(self): 1 / 0\na = A()\ndel a",
        "import traceback\ntry:\n    1 / 0\nexcept Exception:\n    traceback.print_exc()",
        "import traceback\ntry:\n    raise ExceptionGroup('g', [ValueError('a'), KeyError('b')])\n"
        "except Exception:\n    traceback.print_exc()",
    ],
)
def test_lines_after_a_traceback_are_not(code: str) -> None:
    first, *rest, last = printed(f"{code}\nprint('after', file=sys.stderr)").splitlines()
    assert (first, last) == ("before", "after")
    assert len(rest) > 2
    assert errors("\n".join([first, *rest, last])) == rest


@pytest.mark.parametrize(
    "text",
    [
        "a Traceback (most recent call last): in a sentence\n  indented\nValueError: no",
        "agent.py:1: UserWarning: careful\n  f()",
        "Thread 0x1 is fine\nCurrent thread pool: 3",
        "ValueError: printed by somebody",
    ],
)
def test_ordinary_lines_stay_information(text: str) -> None:
    assert errors(text) == []


def test_a_message_of_several_lines_and_what_follows_it() -> None:
    text = (
        "Traceback (most recent call last):\n  File 'a', line 1\nE: 1 error\n  field: missing\n\nnext\n  more"
    )
    assert errors(text) == text.splitlines()[:5]


def test_a_panic_of_a_native_library() -> None:
    text = "thread '<unnamed>' panicked at src/lib.rs:7:9:\nnote: run with `RUST_BACKTRACE=1`\nnext"
    assert errors(text) == text.splitlines()[:2]
