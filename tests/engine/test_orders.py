"""Each command has its order, and each pushed option its owner."""

import typing
from unittest.mock import Mock

from agent_tui.engine.engine import Engine
from agent_tui.engine.orders import Orders
from agent_tui.model import commands as cmd
from agent_tui.options.declare import OPTIONS, Effect


def test_every_command_but_the_end_has_its_order() -> None:
    owners = {name: Mock() for name in ("settings", "servers", "jobs", "code", "sampler", "dispatches")}
    orders = Orders(Mock(), Mock(), Mock(), **owners)
    assert set(orders._of) == set(typing.get_args(cmd.Command)) - {cmd.Stop}


def test_every_effect_that_is_pushed_has_its_owner() -> None:
    pushed = set(Effect) - {Effect.READ, Effect.RESTART}
    assert Engine._pushes(Mock()).keys() == pushed
    assert {option.effect for option in OPTIONS} == set(Effect)
