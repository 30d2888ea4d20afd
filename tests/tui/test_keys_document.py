"""docs/keys.md lists every key of the registry, the pages, and the panels."""

import importlib
import pkgutil
from collections.abc import Iterator
from functools import cache
from typing import Any

import pytest
from textual.dom import DOMNode

import agent_tui.tui
from agent_tui.tui.actions import BY_NAME
from agent_tui.tui.app import AgentTuiApp
from agent_tui.tui.page_keys import KEY_TABLES, KeyTable
from tests.cli.support import ROOT
from tests.tui.keys_document import TEN, bound, document


def test_the_keys_document_is_current() -> None:
    assert (ROOT / "docs/keys.md").read_text(encoding="utf-8") == document(), (
        "stale: python -m tests.tui.keys_document > docs/keys.md"
    )


def test_the_ten_are_actions() -> None:
    assert len(TEN) == 10
    assert TEN.keys() <= BY_NAME.keys()


@pytest.mark.parametrize("table", KEY_TABLES, ids=lambda table: table.title)
def test_each_table_lists_exactly_the_keys_that_are_bound(table: KeyTable) -> None:
    kinds = _kinds()
    assert {*table.classes} <= kinds.keys()
    listed = [key for keys, _ in table.rows for key in keys.split()]
    assert {*listed} == {key for name in table.classes for key in bound(kinds[name])}


def test_every_class_that_binds_keys_is_listed() -> None:
    binding = {name for name, kind in _kinds().items() if [*bound(kind)]}
    tables = {name for table in KEY_TABLES for name in table.classes}
    assert binding - {AgentTuiApp.__name__} == {name for name in tables if [*bound(_kinds()[name])]}


@cache
def _kinds() -> dict[str, type[Any]]:
    """Return all widgets and pages of agent-tui, by the class's name."""
    for module in pkgutil.walk_packages(agent_tui.tui.__path__, f"{agent_tui.tui.__name__}."):
        importlib.import_module(module.name)
    return {each.__name__: each for each in _subclasses(DOMNode) if each.__module__.startswith("agent_tui.")}


def _subclasses(kind: type[Any]) -> Iterator[type[Any]]:
    for each in kind.__subclasses__():
        yield each
        yield from _subclasses(each)
