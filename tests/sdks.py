"""Pythons with a livekit-agents SDK to test on.

`AGENT_TUI_SDK_PYTHONS` names them, separated by colons; without it `.venvs/sdk-old` and `.venvs/sdk-new`
under the repository's root are used where they exist.

Each process that imports an SDK costs seconds of CPU, so not every test runs on each SDK with each start
method: they take turns from test to test. `AGENT_TUI_ALL_PAIRS=1` runs all of them.
"""

import itertools
import os
import zlib
from collections.abc import Sequence
from pathlib import Path

import pytest

from agent_tui.model.events import StartMethod

ROOT = Path(__file__).resolve().parent.parent
DEFAULT = (ROOT / ".venvs/sdk-old/bin/python", ROOT / ".venvs/sdk-new/bin/python")
ALL_PAIRS = bool(os.environ.get("AGENT_TUI_ALL_PAIRS"))
METHODS_IN_TURN = (StartMethod.FORK, StartMethod.TEMPLATE, StartMethod.FORK, StartMethod.SPAWN)
"""Start methods in turn: of two neighbors one is fork."""
FORKING = (StartMethod.FORK, StartMethod.TEMPLATE)
"""Start methods that do not import the SDK for each process."""

REASON = "no Python with livekit-agents: set AGENT_TUI_SDK_PYTHONS or make .venvs/sdk-new"


def sdk_pythons() -> list[Path]:
    """The Pythons that exist, oldest SDK first as they are named."""
    named = os.environ.get("AGENT_TUI_SDK_PYTHONS")
    paths = [Path(each) for each in named.split(":") if each] if named else list(DEFAULT)
    return [path.absolute() for path in paths if path.exists()]


def newest_sdk() -> pytest.MarkDecorator:
    """Parametrize `sdk_python` with the newest one only, for what the SDK's version does not change."""
    return each_sdk() if ALL_PAIRS else _parametrized(sdk_pythons()[-1:])


def each_sdk() -> pytest.MarkDecorator:
    """Parametrises a test's `sdk_python` over them; skips, saying why, where there is none."""
    return _parametrized(sdk_pythons())


def sdk_in_turn() -> pytest.MarkDecorator:
    """Parametrize `sdk_python` with one of them, for what the SDK's version hardly changes."""
    return pytest.mark.sdk_in_turn


def _parametrized(pythons: list[Path]) -> pytest.MarkDecorator:
    if not pythons:
        return pytest.mark.parametrize(
            "sdk_python", [pytest.param(None, marks=pytest.mark.skip(reason=REASON))]
        )
    return pytest.mark.parametrize("sdk_python", pythons, ids=[path.parent.parent.name for path in pythons])


def each_sdk_with(
    argument: str, values: Sequence[str], *, in_turn: Sequence[str] = (), each_value: bool = False
) -> pytest.MarkDecorator:
    """Parametrise `sdk_python` and another argument, whose values take turns, also from test to test.

    `in_turn` are the values that take turns, if not all do. With `each_value` a test runs with all values,
    and the SDKs take turns.
    """
    return pytest.mark.each_sdk_with(argument, values, in_turn=in_turn or values, each_value=each_value)


def parametrize_sdk(test: pytest.Metafunc) -> None:
    """Carry out `each_sdk_with` and `sdk_in_turn` for a test."""
    if marker := test.definition.get_closest_marker("each_sdk_with"):
        _parametrize_pairs(test, *marker.args, **marker.kwargs)
    elif test.definition.get_closest_marker("sdk_in_turn"):
        pythons = sdk_pythons()
        if pythons and not ALL_PAIRS:
            pythons = [pythons[turn(test) % len(pythons)]]
        mark = _parametrized(pythons)
        test.parametrize(*mark.args, **mark.kwargs)


def turn(test: pytest.Metafunc) -> int:
    """Return a number that is different from test to test, but always the same for one test."""
    return zlib.crc32(test.function.__name__.encode())


def _parametrize_pairs(
    test: pytest.Metafunc, argument: str, values: Sequence[str], *, in_turn: Sequence[str], each_value: bool
) -> None:
    pythons = sdk_pythons()
    first = turn(test)
    rows = range(len(values) if each_value and pythons else len(pythons))
    taken = [(pythons[row % len(pythons)], in_turn[(first + row) % len(in_turn)]) for row in rows]
    all_pairs = dict.fromkeys(itertools.product(pythons, values))
    pairs = [
        pytest.param(python, value, id=f"{python.parent.parent.name}-{value}")
        for python, value in (all_pairs if ALL_PAIRS else taken)
    ] or [pytest.param(None, values[0], marks=pytest.mark.skip(reason=REASON))]
    test.parametrize(("sdk_python", argument), pairs)
