"""One of everything that front ends and the engine exchange, encoded and decoded."""

import math
from dataclasses import fields
from typing import Any, get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent_tui.model import events as ev
from agent_tui.model.codec import DATA, CodecError, Data
from agent_tui.model.commands import Dispatch, SetOptions
from agent_tui.model.settings import DEFAULTS
from agent_tui.options.permissions import Permissions
from tests.fakes.engine import FakeEngine
from tests.fakes.hostile_values import HOSTILE, with_text
from tests.tui import histories

MADE: dict[Any, Any] = {
    Dispatch: Dispatch(3, "salon", HOSTILE, attributes={HOSTILE: ""}),
    SetOptions: SetOptions({"port": None}),
}
"""Those with a `Mapping`."""


@pytest.mark.parametrize("cls", get_args(Data), ids=lambda cls: cls.__name__)
def test_every_class_survives_encoding(cls: Any) -> None:
    message: Any = cls() if cls.__name__ == "AppState" else MADE.get(cls) or with_text(cls, HOSTILE)
    assert DATA.decode(DATA.encode(message)) == message


@pytest.mark.parametrize("name", histories.ALL)
def test_a_complete_state_survives_encoding(name: str) -> None:
    engine = FakeEngine()
    histories.ALL[name](engine)
    assert DATA.decode(DATA.encode(engine.state)) == engine.state


def test_infinite_numbers_survive_encoding() -> None:
    stopping = ev.Stopping("quit", 1, math.inf, -math.inf)
    assert DATA.decode(DATA.encode(stopping)) == stopping
    started = ev.JobStarted("AJ_1", "a", "p1", 1, 1, True, 3.0, math.inf)
    assert DATA.decode(DATA.encode(started)) == started


def test_every_kind_of_option_survives_encoding() -> None:
    """Each value has one type of a union; that of permissions is an object."""
    before = DEFAULTS.options
    usual = ev.OptionsChanged({each.name: (getattr(before, each.name),) * 2 for each in fields(before)})
    hidden = Permissions(can_publish_sources=("camera",), hidden=True)
    for event in (usual, ev.OptionsChanged({"permissions": (Permissions(), hidden)})):
        assert DATA.decode(DATA.encode(event)) == event


def test_no_two_classes_have_the_same_name() -> None:
    messages = [with_text(each, "x") for each in get_args(Data)]
    assert len({DATA.case(each) for each in messages}) == len(messages)


@given(st.one_of(st.binary(max_size=50), st.builds(msgspec.msgpack.encode, st.lists(st.text(max_size=9)))))
def test_bytes_that_are_no_message_raise_a_clear_error(data: bytes) -> None:
    with pytest.raises(CodecError, match="not a message"):
        DATA.decode(data)
