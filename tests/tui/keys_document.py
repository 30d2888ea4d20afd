"""docs/keys.md: `python -m tests.tui.keys_document > docs/keys.md`."""
# ruff: noqa: E501  a page is wrapped at 120

import sys
from collections.abc import Iterator
from typing import Any, NamedTuple

from textual.binding import Binding

from agent_tui.tui.actions import ACTIONS, BY_NAME, Action
from agent_tui.tui.screens.breaches import BreachesPage
from agent_tui.tui.screens.confirm import Confirm, QuitQuestion
from agent_tui.tui.screens.export import ExportPage
from agent_tui.tui.screens.fields import Choice, FieldForm
from agent_tui.tui.screens.generations import GenerationsPage
from agent_tui.tui.screens.help import Help
from agent_tui.tui.screens.job import JobPage
from agent_tui.tui.screens.log_export import LogExport
from agent_tui.tui.screens.log_filters import LogFilters
from agent_tui.tui.screens.log_record import LogRecord
from agent_tui.tui.screens.options import OptionsPage
from agent_tui.tui.screens.page import LivePage, TextPage
from agent_tui.tui.screens.pick import Pick
from agent_tui.tui.screens.remote_guard import RemoteGuard
from agent_tui.tui.screens.tuning import TuningPage
from agent_tui.tui.screens.worker import WorkerPage
from agent_tui.tui.widgets.command_bar import CommandInput
from agent_tui.tui.widgets.line_list import LineList
from agent_tui.tui.widgets.load_rows import LoadList
from agent_tui.tui.widgets.log_bars import FindInput, PromptInput
from agent_tui.tui.widgets.log_view import LogView
from agent_tui.tui.widgets.processes import Processes

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


class Place(NamedTuple):
    """A place with its own keys: a title, the classes that bind them, and a row per key or pair."""

    title: str
    classes: tuple[type[Any], ...]
    rows: tuple[tuple[str, str], ...]


PLACES = (
    Place(
        "Process table",
        (Processes,),
        (
            ("enter", "Open the page of the process's job; for a process without jobs, say what it is for."),
            ("delete", "End its job, like `x`."),
            ("home end", "Go to the first or last row."),
            ("escape", "Show all rows, if they are filtered."),
        ),
    ),
    Place(
        "Log lines",
        (LogView,),
        (
            ("up down", "Select the previous or next line."),
            ("shift+up shift+down", "Extend the selection; `y` copies it."),
            ("pageup pagedown", "Scroll one page."),
            ("home end", "Go to the oldest line; go to the newest and follow."),
            ("enter", "Open the whole record, with its fields."),
            ("space", "Fold or unfold the record."),
            ("escape", "Clear the search."),
        ),
    ),
    Place(
        "Find",
        (PromptInput, FindInput),
        (
            ("up down", "Go to the previous or next match."),
            ("ctrl+o", "Show only matching lines, or all lines again."),
            ("ctrl+r", "Treat the text as a regular expression, or as plain text again."),
            ("escape", "Close the search."),
        ),
    ),
    Place("Log record", (LogRecord,), (("c", "Copy the text."), ("escape enter q", "Close."))),
    Place(
        "Log filters",
        (LogFilters,),
        (("backspace delete", "Remove all filters."), ("escape q F", "Close.")),
    ),
    Place("Write the log to a file", (LogExport,), (("escape", "Close."),)),
    Place(
        "Lists: jobs, breaches",
        (LineList, LivePage),
        (("j k", "Move down or up."), ("escape q", "Close.")),
    ),
    Place(
        "Job",
        (JobPage,),
        (
            ("1 2 3", "Show the overview, the log, or the job and its token."),
            ("left right", "Show the previous or next of these tabs."),
            ("j k", "Scroll down or up."),
            ("e", "Open the line that failed in your editor."),
        ),
    ),
    Place(
        "Breaches",
        (BreachesPage,),
        (
            ("a", "Show warnings and limit events."),
            ("w", "Show warnings only."),
            ("l", "Show limit events only."),
            ("slash", "Filter by room or pid."),
        ),
    ),
    Place(
        "Generations",
        (GenerationsPage, LoadList),
        (
            ("up down k j", "Select another load."),
            ("home end", "Select the newest or oldest load."),
            ("enter tab", "Move between the list and the diff."),
            ("pageup pagedown space", "Scroll the diff."),
            ("c", "Compare with the current generation; press again to compare with the previous load."),
            ("b", "Roll back to the selected generation; asks first."),
            ("e", "Open the failing or first changed line in your editor."),
            ("r", "Reload now."),
            ("escape q g", "Close."),
        ),
    ),
    Place(
        "Tuning",
        (TuningPage,),
        (
            ("b w", "Start a load or a sweep."),
            ("plus equals_sign minus", "Change `numIdleProcesses` while a load runs."),
            ("a", "Apply the advice of the last sweep."),
            ("tab", "Switch between the load and the sweep."),
            ("up down", "Select a count of idle processes in a sweep."),
            ("pageup pagedown j k", "Scroll."),
            ("escape", "Close; while something runs, ask whether to end it."),
            ("T q", "Close; a running load or sweep continues."),
        ),
    ),
    Place(
        "Options",
        (OptionsPage,),
        (
            ("up down", "Go to the previous or next option."),
            ("ctrl+s", "Apply the edits, all or none."),
            ("ctrl+z", "Undo."),
            ("ctrl+w", "Save to the config file; secrets as a reference to their variable."),
            ("ctrl+g", "Save secrets in clear text."),
            ("ctrl+x", "Export as code, `.env`, or flags."),
            ("escape", "Discard what was typed, then close."),
        ),
    ),
    Place("Copy", (Pick,), (("escape q", "Close."),)),
    Place(
        "Command line (`:`, `/`)",
        (CommandInput,),
        (
            ("tab shift+tab", "Complete: the next or previous possibility."),
            ("up down", "The previous or next command."),
            ("escape", "Close; a filter is removed."),
        ),
    ),
    Place("Export", (ExportPage,), (("c", "Copy the text."), ("escape", "Close."))),
    Place(
        "Forms for test jobs, loads, and sweeps",
        (FieldForm, Choice),
        (
            ("up down", "Go to the previous or next field."),
            ("left right space", "Change a choice."),
            ("enter", "Submit the form."),
            ("escape", "Cancel."),
        ),
    ),
    Place(
        "Help, worker",
        (TextPage, Help, WorkerPage),
        (
            ("j k", "Scroll down or up."),
            ("escape q", "Close; so does the key that opened the page (`?`, `i`)."),
            ("question_mark i", ""),
        ),
    ),
    Place(
        "Questions",
        (Confirm, QuitQuestion),
        (
            ("y", "Yes."),
            ("n escape", "No."),
            ("left right", "Move between the buttons."),
            ("q", "Yes, if the question is whether to quit."),
        ),
    ),
    Place(
        "Remote server",
        (RemoteGuard,),
        (
            ("y", "Yes, for this run."),
            ("a", "Yes, and remember it in agent-tui.toml."),
            ("n escape", "No."),
            ("left right", "Move between the buttons."),
        ),
    ),
)
"""A row without a text is part of the row before it."""

_NAMES = {
    "backspace": "Backspace",
    "delete": "Delete",
    "down": "↓",
    "end": "End",
    "enter": "Enter",
    "equals_sign": "=",
    "escape": "Esc",
    "home": "Home",
    "left": "←",
    "minus": "-",
    "pagedown": "PgDn",
    "pageup": "PgUp",
    "plus": "+",
    "right": "→",
    "slash": "/",
    "space": "Space",
    "tab": "Tab",
    "up": "↑",
}


def document() -> str:
    """Return the whole page."""
    lines = [
        "# Keys",
        "",
        "Generated from the registry in `agent_tui/tui/actions.py` and from `tests/tui/keys_document.py`.",
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
    lines += [
        "## Inside pages and panels",
        "",
        "These keys work in the focused panel or page; they cannot be changed.",
        "",
        "| where | key | |",
        "|---|---|---|",
        *(row for place in PLACES for row in _rows(place)),
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


def _rows(place: Place) -> Iterator[str]:
    title = place.title
    for keys, text in place.rows:
        if text:
            yield f"| {title} | {' '.join(f'`{_key_name(key)}`' for key in keys.split())} | {text} |"
            title = ""


def _key_name(key: str) -> str:
    if key.startswith("shift+"):
        return f"Shift+{_key_name(key.removeprefix('shift+'))}"
    if key.startswith("ctrl+"):
        return f"Ctrl+{key.removeprefix('ctrl+').upper()}"
    return _NAMES.get(key, key)


if __name__ == "__main__":
    sys.stdout.write(document())
