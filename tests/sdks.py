"""Pythons with a livekit-agents SDK to test on.

`AGENT_TUI_SDK_PYTHONS` names them, separated by colons; without it `.venvs/sdk-old` and `.venvs/sdk-new`
under the repository's root are used where they exist.
"""

import os
from pathlib import Path

import pytest

from agent_tui.model.events import StartMethod

ROOT = Path(__file__).resolve().parent.parent
DEFAULT = (ROOT / ".venvs/sdk-old/bin/python", ROOT / ".venvs/sdk-new/bin/python")
REASON = "no Python with livekit-agents: set AGENT_TUI_SDK_PYTHONS or make .venvs/sdk-new"


def sdk_pythons() -> list[Path]:
    """The Pythons that exist, oldest SDK first as they are named."""
    named = os.environ.get("AGENT_TUI_SDK_PYTHONS")
    paths = [Path(each) for each in named.split(":") if each] if named else list(DEFAULT)
    return [path.absolute() for path in paths if path.exists()]


def each_sdk() -> pytest.MarkDecorator:
    """Parametrises a test's `sdk_python` over them; skips, saying why, where there is none."""
    pythons = sdk_pythons()
    if not pythons:
        return pytest.mark.parametrize(
            "sdk_python", [pytest.param(None, marks=pytest.mark.skip(reason=REASON))]
        )
    return pytest.mark.parametrize("sdk_python", pythons, ids=[path.parent.parent.name for path in pythons])


def each_sdk_by_method(argument: str = "method", *, indirect: bool = False) -> pytest.MarkDecorator:
    """Parametrises `sdk_python` and a start method: each SDK forks, and each other method meets one SDK.

    `indirect` makes the method the parameter of a fixture of the argument's name.
    """
    pythons = sdk_pythons()
    pairs = [
        *(pytest.param(each, StartMethod.FORK, id=f"{each.parent.parent.name}-fork") for each in pythons),
        *(
            pytest.param(each, StartMethod.SPAWN, id=f"{each.parent.parent.name}-spawn")
            for each in pythons[:1]
        ),
        *(
            pytest.param(each, StartMethod.TEMPLATE, id=f"{each.parent.parent.name}-template")
            for each in pythons[-1:]
        ),
    ] or [pytest.param(None, StartMethod.FORK, marks=pytest.mark.skip(reason=REASON))]
    return pytest.mark.parametrize(("sdk_python", argument), pairs, indirect=[argument] if indirect else [])
