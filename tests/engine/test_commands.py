"""Each pushed option has its owner. mypy checks that each command has its case (`match` over the union)."""

from unittest.mock import Mock

from agent_tui.engine.engine import Engine
from agent_tui.options.declare import OPTIONS, Effect


def test_every_effect_that_is_pushed_has_its_owner() -> None:
    pushed = set(Effect) - {Effect.READ, Effect.RESTART}
    assert Engine._pushes(Mock()).keys() == pushed
    assert {option.effect for option in OPTIONS} == set(Effect)
