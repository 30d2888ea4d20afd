"""Tabs in the border of a panel or page: their names, the selected one underlined. Pure functions."""

from collections.abc import Mapping

from textual.content import Content
from textual.style import Style

from agent_tui.tui.widgets.text import MUTED

SEPARATOR = "  "


def tab_title(tabs: Mapping[str, str], selected: str) -> Content:
    """Return the names of the tabs, by id; a click on one has its id as `tab` in the meta of its style."""
    names = [
        Content.styled(name, "bold underline" if id == selected else MUTED).stylize(
            Style.from_meta({"tab": id})
        )
        for id, name in tabs.items()
    ]
    return Content(SEPARATOR).join(names)
