"""docs/keys.md lists every key of the registry, the pages, and the panels."""

import importlib
import pkgutil
from collections.abc import Iterator
from typing import Any

import pytest
from textual.dom import DOMNode

import agent_tui.tui
from agent_tui.tui.actions import BY_NAME
from agent_tui.tui.app import AgentTuiApp
from tests.cli.support import ROOT
from tests.tui.keys_document import PLACES, TEN, Place, bound, document


def test_the_keys_document_is_current() -> None:
    assert (ROOT / "docs/keys.md").read_text(encoding="utf-8") == document(), (
        "stale: python -m tests.tui.keys_document > docs/keys.md"
    )


def test_the_ten_are_actions() -> None:
    assert len(TEN) == 10
    assert TEN.keys() <= BY_NAME.keys()


@pytest.mark.parametrize("place", PLACES, ids=lambda place: place.title)
def test_each_place_lists_exactly_its_keys(place: Place) -> None:
    listed = {key for keys, _ in place.rows for key in keys.split()}
    assert listed == {key for each in place.classes for key in bound(each)}


def test_every_class_that_binds_keys_is_listed() -> None:
    for module in pkgutil.walk_packages(agent_tui.tui.__path__, f"{agent_tui.tui.__name__}."):
        importlib.import_module(module.name)
    binding = {
        each for each in _subclasses(DOMNode) if each.__module__.startswith("agent_tui.") and [*bound(each)]
    }
    assert binding == {AgentTuiApp, *(each for place in PLACES for each in place.classes if [*bound(each)])}


def _subclasses(kind: type[Any]) -> Iterator[type[Any]]:
    for each in kind.__subclasses__():
        yield each
        yield from _subclasses(each)
