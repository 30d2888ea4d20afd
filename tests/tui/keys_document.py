"""docs/keys.md: `python -m tests.tui.keys_document > docs/keys.md`."""
# ruff: noqa: E501  a page is wrapped at 120

import sys
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from textual.binding import Binding

from agent_tui.tui.actions import ACTIONS, BY_NAME, Action, key_name
from agent_tui.tui.page_keys import KEY_TABLES, KeyTable
from agent_tui.tui.preferences import KEYMAPS, VIM

TEN = {
    "dispatch": "start a test job",
    "end": "end the selected job",
    "stacks": "see which code the selected process is executing",
    "job": "list the jobs and open one: timeline, memory, log, traceback",
    "generations": "see what each save changed, and roll back",
    "edit": "open the failing line, or the agent's file, in your editor",
    "find": "find text in the log",
    "more_idle": "keep one more process warm (`-`: one fewer)",
    "help": "show all keys",
    "quit": "quit; press it again to kill the remaining processes",
}
"""The ten actions that a new user needs, and their descriptions."""


def document() -> str:
    """Return the whole page."""
    lines = [
        "# Keys",
        "",
        "Generated from the registry in `agent_tui/tui/actions.py` and from `agent_tui/tui/page_keys.py`.",
        "`?` shows the same list on the screen. `Ctrl+P` opens the palette, which finds every action by name. `Tab` moves from",
        "panel to panel.",
        "",
        "## The ten you need",
        "",
        "| key | what it does |",
        "|---|---|",
        *(f"| {_shown(BY_NAME[name])} | {text} |" for name, text in TEN.items()),
        "",
        "The last column of the tables below is the action's name, for your own keys in",
        "[`[screen.keys]`](screen.md#colors-keys-motion).",
        "",
    ]
    for group in dict.fromkeys(action.group for action in ACTIONS):
        lines += [f"## {group}", "", "| key | | | name |", "|---|---|---|---|"]
        lines += [_row(action) for action in ACTIONS if action.group == group]
        lines.append("")
    vim = KEYMAPS[VIM]
    lines += [
        "## Vim keys",
        "",
        f'With `keymap = "{VIM}"` in [`[screen]`](screen.md#colors-keys-motion), these keys act like the keys in the right column in every list, table,',
        "log, and page, except where you type text.",
        "",
        "| key | |",
        "|---|---|",
        *(f"| `{key}` | `{key_name(other)}` |" for key, other in vim.moves.items()),
        *(
            f"| {_shown(replace(BY_NAME[name], keys=keys))} | {BY_NAME[name].title}, in place of {_shown(BY_NAME[name])} |"
            for name, keys in vim.keys.items()
        ),
        "",
        "## Inside pages and panels",
        "",
        "These keys work in the focused panel or page; they cannot be changed.",
        "",
        "| where | key | |",
        "|---|---|---|",
        *(row for table in KEY_TABLES for row in _rows(table)),
        "",
    ]
    return "\n".join(lines)


def bound(kind: type[Any]) -> Iterator[str]:
    """Yield the keys that a class itself binds."""
    for binding in vars(kind).get("BINDINGS", ()):
        keys = binding.key if isinstance(binding, Binding) else binding[0]
        yield from (key.strip() for key in keys.split(","))


def _shown(action: Action) -> str:
    return " ".join(f"`{key}`" for key in action.shown_keys.split())


def _row(action: Action) -> str:
    return f"| {_shown(action)} | {action.title} | {action.help} | `{action.name}` |"


def _rows(table: KeyTable) -> Iterator[str]:
    title = table.title
    for keys, text in table.rows:
        yield f"| {title} | {' '.join(f'`{key_name(key)}`' for key in keys.split())} | {text} |"
        title = ""


if __name__ == "__main__":
    sys.stdout.write(document())
