"""Each command has its order."""

import typing
from unittest.mock import Mock

from agent_tui.engine.orders import Orders
from agent_tui.model import commands as cmd


def test_every_command_but_the_end_has_its_order() -> None:
    owners = {name: Mock() for name in ("settings", "servers", "jobs", "code", "sampler", "dispatches")}
    orders = Orders(Mock(), Mock(), Mock(), **owners)
    assert set(orders._of) == set(typing.get_args(cmd.Command)) - {cmd.Stop}
