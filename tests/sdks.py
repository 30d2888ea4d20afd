"""Pythons with a livekit-agents SDK to test on.

`AGENT_TUI_SDK_PYTHONS` names them, separated by colons; without it `.venvs/sdk-old` and `.venvs/sdk-new`
under the repository's root are used where they exist.
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
METHODS_IN_TURN = (StartMethod.FORK, StartMethod.TEMPLATE, StartMethod.FORK, StartMethod.SPAWN)
"""Start methods in turn: of two neighbors one is fork."""

REASON = "no Python with livekit-agents: set AGENT_TUI_SDK_PYTHONS or make .venvs/sdk-new"


def sdk_pythons() -> list[Path]:
    """The Pythons that exist, oldest SDK first as they are named."""
    named = os.environ.get("AGENT_TUI_SDK_PYTHONS")
    paths = [Path(each) for each in named.split(":") if each] if named else list(DEFAULT)
    return [path.absolute() for path in paths if path.exists()]


def newest_sdk() -> pytest.MarkDecorator:
    """Parametrize `sdk_python` with the newest one only, for what the SDK's version does not change.

    `AGENT_TUI_ALL_PAIRS=1` runs the test on each SDK.
    """
    return each_sdk() if os.environ.get("AGENT_TUI_ALL_PAIRS") else _parametrized(sdk_pythons()[-1:])


def each_sdk() -> pytest.MarkDecorator:
    """Parametrises a test's `sdk_python` over them; skips, saying why, where there is none."""
    return _parametrized(sdk_pythons())


def _parametrized(pythons: list[Path]) -> pytest.MarkDecorator:
    if not pythons:
        return pytest.mark.parametrize(
            "sdk_python", [pytest.param(None, marks=pytest.mark.skip(reason=REASON))]
        )
    return pytest.mark.parametrize("sdk_python", pythons, ids=[path.parent.parent.name for path in pythons])


def each_sdk_with(argument: str, values: Sequence[str], *, each_value: bool = False) -> pytest.MarkDecorator:
    """Parametrise `sdk_python` and another argument, whose values take turns, also from test to test.

    With `each_value` a test runs with all of them, and the SDKs take turns. `AGENT_TUI_ALL_PAIRS=1` runs each
    test on all pairs.
    """
    return pytest.mark.each_sdk_with(argument, values, each_value=each_value)


def parametrize_pairs(
    test: pytest.Metafunc, argument: str, values: Sequence[str], *, each_value: bool
) -> None:
    """Carry out `each_sdk_with` for a test."""
    pythons = sdk_pythons()
    turn = zlib.crc32(test.function.__name__.encode())
    rows = range(len(values) if each_value and pythons else len(pythons))
    in_turn = [(pythons[row % len(pythons)], values[(turn + row) % len(values)]) for row in rows]
    all_pairs = dict.fromkeys(itertools.product(pythons, values))
    pairs = [
        pytest.param(python, value, id=f"{python.parent.parent.name}-{value}")
        for python, value in (all_pairs if os.environ.get("AGENT_TUI_ALL_PAIRS") else in_turn)
    ] or [pytest.param(None, values[0], marks=pytest.mark.skip(reason=REASON))]
    test.parametrize(("sdk_python", argument), pairs)
