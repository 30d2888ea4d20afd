"""The registry of actions: the source of key bindings, command palette, help, and docs/keys.md."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum, auto

from textual.command import DiscoveryHit, Hit, Hits, Provider
from textual.content import Content
from textual.message import Message
from textual.widget import Widget

from agent_tui.model.state import LIVE_PHASES, AppState, JobView
from agent_tui.tui.widgets.command_bar import CommandBar
from agent_tui.tui.widgets.log_pane import LogPane
from agent_tui.tui.widgets.log_view import LogView
from agent_tui.tui.widgets.problems import problems
from agent_tui.tui.widgets.processes import Processes
from agent_tui.tui.widgets.splits import SplitBody
from agent_tui.tui.widgets.talk_pane import TalkPane


def _always(state: AppState) -> bool:
    return True


def _has_problems(state: AppState) -> bool:
    return bool(problems(state, time.time(), state.settings.options))


def _serving(state: AppState) -> bool:
    return state.generation.current > 0 and not state.stopping


@dataclass
class ActionRequested(Message):
    """A click on text that names an action of the registry: run it."""

    name: str


class Place(Enum):
    """A part of the dashboard that can have the focus."""

    ANYWHERE = auto()
    PROCESSES = auto()
    """The process table, or the tabs for its selected row."""
    TALK = auto()
    """The conversation in the Talk tab, which is one of those tabs."""
    LOGS = auto()


@dataclass(frozen=True, slots=True)
class FooterContext:
    """What decides which keys the footer offers: the state at `now` (Unix seconds), and the selected job."""

    state: AppState
    now: float
    job: JobView | None

    @property
    def is_live(self) -> bool:
        """Whether the selected job is live and runs on an SDK, so that its code can be swapped and pinned."""
        is_live = self.job is not None and self.job.phase in LIVE_PHASES
        return is_live and self.state.generation.runtime != "native"

    @property
    def is_stale(self) -> bool:
        """Whether the selected job is live and runs older code than new jobs."""
        if self.job is None or self.job.phase not in LIVE_PHASES:
            return False
        return 0 < self.state.code_of(self.job) < self.state.generation.current

    @property
    def has_loaded(self) -> bool:
        """Whether a save, reload, or rollback was loaded, or failed to load, a short time ago."""
        loads = self.state.loads
        return bool(loads) and loads[-1].number > 1 and self.now - loads[-1].ts < NEWS_S


NEWS_S = 30.0
"""How long after a load the footer offers the generations before other keys, in s."""


def _generations_priority(context: FooterContext) -> int:
    return 3 if context.has_loaded or context.is_stale else 10


def _swap_priority(context: FooterContext) -> int | None:
    return 3 if context.is_live and context.is_stale else None


def _pin_priority(context: FooterContext) -> int | None:
    return 6 if context.is_live else None


@dataclass(frozen=True, slots=True)
class Action:
    """An action: the method `action_NAME` of its `target`, or without one, NAME in `tui/action_handlers/`.

    It is available while `enabled(state)`.
    """

    name: str
    keys: tuple[str, ...]
    title: str
    help: str
    group: str
    enabled: Callable[[AppState], bool] = _always
    footer: str = ""
    """The label in the footer; actions without one are not in the footer."""
    place: Place = Place.ANYWHERE
    """Where the focus must be for the footer to name it. The key works everywhere."""
    drop_priority: int = 0
    """In a footer that is too narrow, the label with the highest one is dropped first; 0 always stays."""
    priority_of: Callable[[FooterContext], int | None] | None = None
    """Return the drop priority where it depends on the selected job; None leaves the label out."""
    target: type[Widget] | None = None
    """The widget that acts, unless the focused one, or one around it, has an action of that name."""
    opens_page: bool = False
    """Whether it opens a page, form, or dialog: the keys typed after it are for that."""

    def footer_priority(self, context: FooterContext, focus: Place) -> int | None:
        """Return the drop priority with the focus in that place; None if the footer does not name the key."""
        around = {Place.ANYWHERE, focus} | ({Place.PROCESSES} if focus is Place.TALK else set())
        if self.place not in around:
            return None
        return self.drop_priority if self.priority_of is None else self.priority_of(context)

    @property
    def shown_keys(self) -> str:
        """Return the keys as users write them, such as `+ =` or `Esc`."""
        return " ".join(map(key_name, self.keys))

    def receiver(self, focused: Widget | None, otherwise: Widget) -> Widget:
        """Return the widget that acts; `otherwise` is the `target`."""
        around = () if focused is None else focused.ancestors_with_self
        return next(
            (each for each in around if isinstance(each, Widget) and hasattr(each, f"action_{self.name}")),
            otherwise,
        )


_KEY_NAMES = {
    "backspace": "Backspace",
    "colon": ":",
    "delete": "Delete",
    "down": "↓",
    "end": "End",
    "enter": "Enter",
    "equals_sign": "=",
    "escape": "Esc",
    "home": "Home",
    "left": "←",
    "greater_than_sign": ">",
    "left_curly_bracket": "{",
    "left_square_bracket": "[",
    "less_than_sign": "<",
    "minus": "-",
    "pagedown": "PgDn",
    "pageup": "PgUp",
    "plus": "+",
    "question_mark": "?",
    "right": "→",
    "right_curly_bracket": "}",
    "right_square_bracket": "]",
    "slash": "/",
    "space": "Space",
    "tab": "Tab",
    "up": "↑",
}


def key_name(key: str) -> str:
    """Return a key as users write it, such as `+`, `Esc`, or `Shift+Tab`; `key` is in Textual's spelling."""
    modifier, plus, rest = key.partition("+")
    if plus and rest:
        return f"{modifier.capitalize()}+{rest.upper() if len(rest) == 1 else key_name(rest)}"
    is_function = key[:1] == "f" and key[1:].isdigit()
    return key.upper() if is_function else _KEY_NAMES.get(key, key)


ACTIONS: tuple[Action, ...] = (
    Action(
        "dispatch",
        ("d",),
        "Dispatch",
        "Start a test job in a new room, with the metadata and attributes last entered in the form (D). "
        ":dispatch ROOM starts one in that room.",
        "Test jobs",
        _serving,
        footer="Dispatch",
        drop_priority=1,
    ),
    Action(
        "dispatch_form",
        ("D",),
        "Dispatch…",
        "Start test jobs; a form asks for room, count, metadata, attributes, and job length.",
        "Test jobs",
        _serving,
        opens_page=True,
    ),
    Action(
        "copy_link",
        ("c",),
        "Copy join link",
        "Copy a link that joins the room of the last test job. Its token is valid for one hour.",
        "Test jobs",
        _serving,
    ),
    Action(
        "open_link",
        ("o",),
        "Open in browser",
        "Join the room of the last test job in the browser.",
        "Test jobs",
        _serving,
    ),
    Action(
        "end",
        ("x",),
        "End job",
        "End the selected process's job gracefully. If people may be in its room, or if it has a "
        "conversation, asks first.",
        "Processes",
        footer="End",
        place=Place.PROCESSES,
        drop_priority=2,
    ),
    Action(
        "stacks",
        ("s",),
        "Show stacks",
        "Show which code the selected process is executing, even if its event loop is blocked.",
        "Processes",
        _serving,
        footer="Stacks",
        place=Place.PROCESSES,
        drop_priority=4,
    ),
    Action(
        "job",
        ("j",),
        "Jobs",
        "List running and recently ended jobs. Enter on a job opens its page.",
        "Processes",
        footer="Jobs",
        place=Place.PROCESSES,
        drop_priority=7,
        opens_page=True,
    ),
    Action(
        "talk",
        ("C",),
        "Conversation",
        "Show the conversation with the selected job's agent on a full page. Enter on a job shows it in the "
        "Talk tab; Enter again moves to the input line.",
        "Processes",
        opens_page=True,
    ),
    Action(
        "interrupt",
        ("ctrl+g",),
        "Interrupt",
        "Cut off the reply of the agent in the Talk tab.",
        "Processes",
        drop_priority=3,
        target=TalkPane,
    ),
    Action(
        "inspect",
        ("I",),
        "LLM context",
        "Show what the LLM of the session in the Talk tab will see: instructions, tools, and items.",
        "Processes",
        footer="LLM context",
        place=Place.TALK,
        drop_priority=3,
        target=TalkPane,
    ),
    Action(
        "breaches",
        ("B",),
        "Breaches",
        "List memory warnings and limit events, and graph the memory of the selected entry's process.",
        "Processes",
        opens_page=True,
    ),
    Action(
        "restart",
        ("R",),
        "Restart job",
        "Restart the selected process's job on the current code, as the same participant.",
        "Processes",
        footer="Restart",
        place=Place.PROCESSES,
        drop_priority=5,
    ),
    Action(
        "swap",
        ("U",),
        "Swap code",
        "Give the sessions of the selected process's job the current code now, without a restart.",
        "Processes",
        _serving,
        footer="Swap now",
        place=Place.PROCESSES,
        priority_of=_swap_priority,
    ),
    Action(
        "pin",
        ("P",),
        "Pin code",
        "Pin the selected process's job to its current code, so that reloads leave it alone, or unpin it.",
        "Processes",
        _serving,
        footer="Pin",
        place=Place.PROCESSES,
        priority_of=_pin_priority,
    ),
    Action(
        "sort",
        ("S",),
        "Sort",
        "Sort the processes by the next column. A click on a column header sorts by that column.",
        "Processes",
        drop_priority=9,
        target=Processes,
    ),
    Action(
        "more_idle",
        ("plus", "equals_sign"),
        "More idle",
        "Increase numIdleProcesses by one: more warm processes.",
        "Processes",
        _serving,
        footer="Idle",
        place=Place.PROCESSES,
        drop_priority=8,
    ),
    Action(
        "less_idle",
        ("minus",),
        "Fewer idle",
        "Decrease numIdleProcesses by one: fewer warm processes.",
        "Processes",
        _serving,
    ),
    Action(
        "load",
        ("b",),
        "Test load…",
        "Start many test jobs: a burst, a steady rate, Poisson arrivals, or a ramp. Shows their latencies.",
        "Tuning",
        _serving,
        opens_page=True,
    ),
    Action(
        "sweep",
        ("w",),
        "Sweep…",
        "Measure the same test load with different numbers of idle processes, and recommend one.",
        "Tuning",
        _serving,
        opens_page=True,
    ),
    Action(
        "tuning",
        ("T",),
        "Tuning",
        "Show the running test load or sweep, or the results of the last one.",
        "Tuning",
        footer="Tuning",
        drop_priority=9,
        opens_page=True,
    ),
    Action(
        "apply_advice",
        ("a",),
        "Apply advice",
        "Set numIdleProcesses to the number that the last sweep recommends.",
        "Tuning",
        _serving,
    ),
    Action(
        "owner",
        ("L",),
        "Process logs",
        "Toggle between the selected process's lines and all lines.",
        "Logs",
    ),
    Action(
        "log_filters",
        ("F",),
        "Filter…",
        "Filter the log lines by level, job, process, and generation.",
        "Logs",
        footer="Filter",
        place=Place.LOGS,
        drop_priority=5,
        target=LogPane,
    ),
    Action(
        "find",
        ("slash",),
        "Find",
        "Find text in the log lines; start with re: to use a regular expression. Esc closes the search. "
        "In a list, show only the rows that contain the text you type.",
        "Logs",
        footer="Find",
        drop_priority=3,
        target=LogPane,
    ),
    Action("find_next", ("n",), "Next match", "Go to the next match.", "Logs", target=LogPane),
    Action("find_previous", ("N",), "Previous match", "Go to the previous match.", "Logs", target=LogPane),
    Action(
        "only_found",
        ("m",),
        "Only matches",
        "Toggle between the matches and all lines.",
        "Logs",
        target=LogPane,
    ),
    Action(
        "go_to_time",
        ("t",),
        "Go to time…",
        "Go to a time of day (12:04:31, 10:15), or move back or forward from the current line (-30s, +2m).",
        "Logs",
        target=LogPane,
    ),
    Action(
        "fold",
        ("z",),
        "Fold",
        "Fold the selected record (a traceback), or unfold it.",
        "Logs",
        footer="Fold",
        place=Place.LOGS,
        drop_priority=6,
        target=LogView,
    ),
    Action("fold_all", ("Z",), "Fold all", "Fold all long records, or unfold all.", "Logs", target=LogView),
    Action(
        "wrap",
        ("W",),
        "Wrap",
        "Wrap long lines, or show each in one row that ← and → scroll.",
        "Logs",
        footer="Wrap",
        place=Place.LOGS,
        drop_priority=9,
        target=LogView,
    ),
    Action(
        "copy_lines",
        ("y",),
        "Copy",
        "Copy the selected log lines as text. In a list, pick what to copy: the room, the job's id, the pid, "
        "the reason, or a join link. To select any text, hold Shift while dragging (Option in iTerm2, Fn in "
        "macOS Terminal).",
        "Logs",
        footer="Copy",
        drop_priority=8,
        target=Processes,
    ),
    Action(
        "export_logs",
        ("X",),
        "Save log…",
        "Save the log lines shown to a file, as text or as JSON lines (.jsonl).",
        "Logs",
        opens_page=True,
    ),
    Action(
        "level",
        ("l",),
        "Level",
        "Cycle logLevel: debug, info, warn, error.",
        "Logs",
        footer="Level",
        drop_priority=11,
    ),
    Action(
        "follow",
        ("f",),
        "Follow",
        "Go to the newest log line and stay there.",
        "Logs",
        footer="Follow",
        place=Place.LOGS,
        drop_priority=4,
        target=LogView,
    ),
    Action(
        "reload",
        ("r",),
        "Reload",
        "Reload the agent file now.",
        "Agent",
        footer="Reload",
        drop_priority=7,
    ),
    Action(
        "pause",
        ("p",),
        "Pause reload",
        "Stop reloading on saves. Press it again to resume and load the changes.",
        "Agent",
        footer="Pause",
        drop_priority=12,
    ),
    Action(
        "generations",
        ("g",),
        "Generations",
        "List the loads of the agent's code: what changed, how long it took, why it failed. "
        "Compare or roll back there.",
        "Agent",
        footer="Generations",
        priority_of=_generations_priority,
        opens_page=True,
    ),
    Action(
        "close_trouble",
        ("escape",),
        "Hide problems",
        "Hide the problems at the top. Each stays hidden until it is solved or happens again.",
        "Agent",
        _has_problems,
    ),
    Action(
        "edit",
        ("e",),
        "Edit",
        "Open the line named in the displayed stacks or in a problem at the top, or the agent file, "
        "in $VISUAL, $EDITOR, vi, or nano.",
        "Agent",
    ),
    Action(
        "worker",
        ("i",),
        "Worker",
        "Show the worker's registration: server, region, reconnects, load, offers, and addresses.",
        "General",
        opens_page=True,
    ),
    Action(
        "options",
        ("O",),
        "Options tab",
        "Go to the Options tab. On a narrow terminal, press it again to go back.",
        "General",
    ),
    Action(
        "focus_processes",
        ("1",),
        "Processes",
        "Go to the process table.",
        "General",
    ),
    Action(
        "focus_detail",
        ("2",),
        "Detail",
        "Go to the tabs for the selected row. On a narrow terminal they replace the logs.",
        "General",
    ),
    Action(
        "focus_logs",
        ("3",),
        "Logs",
        "Go to the logs.",
        "General",
    ),
    Action(
        "previous_tab",
        ("left_square_bracket",),
        "Previous tab",
        "Show the previous tab for the selected row.",
        "General",
    ),
    Action(
        "next_tab",
        ("right_square_bracket",),
        "Next tab",
        "Show the next tab for the selected row: talk, job, logs, memory, stacks, options.",
        "General",
    ),
    Action(
        "resize_left",
        ("less_than_sign", "ctrl+left"),
        "Split left",
        "Move the split between the left and right columns to the left. You can also drag the border.",
        "General",
        target=SplitBody,
    ),
    Action(
        "resize_right",
        ("greater_than_sign", "ctrl+right"),
        "Split right",
        "Move the split between the left and right columns to the right.",
        "General",
        target=SplitBody,
    ),
    Action(
        "resize_up",
        ("left_curly_bracket", "ctrl+up"),
        "Split up",
        "Move the split between the processes and the logs up. You can also drag the border.",
        "General",
        target=SplitBody,
    ),
    Action(
        "resize_down",
        ("right_curly_bracket", "ctrl+down"),
        "Split down",
        "Move the split between the processes and the logs down.",
        "General",
        target=SplitBody,
    ),
    Action(
        "maximize",
        ("f10",),
        "Maximize",
        "Fill the screen with the focused panel. Press it again, or Esc, to go back.",
        "General",
    ),
    Action(
        "all_options",
        ("E",),
        "Options page…",
        "Edit all options in a form: apply, undo, save to agent-tui.toml, or export them.",
        "General",
        footer="Options",
        drop_priority=6,
        opens_page=True,
    ),
    Action(
        "picture",
        ("f12",),
        "Screenshot",
        "Save a screenshot (SVG) to the folder for exports, with secrets masked.",
        "General",
    ),
    Action(
        "command",
        ("colon",),
        "Command…",
        "Type a command: :gen 5, :rollback 5, :job demo-4, :level debug, :set numIdleProcesses 3, or an "
        "action's name. Tab completes it; ↑ brings back the last one.",
        "General",
        footer="Command",
        drop_priority=4,
        target=CommandBar,
    ),
    Action(
        "help",
        ("question_mark",),
        "Help",
        "Show all keys.",
        "General",
        footer="Help",
        opens_page=True,
    ),
    Action(
        "drain",
        ("Q",),
        "Quit after jobs",
        "Accept no more jobs, wait for the running ones (up to drainTimeout), then quit. "
        "Press q to end them now.",
        "General",
    ),
    Action(
        "quit",
        ("q", "ctrl+q"),
        "Quit",
        "End jobs gracefully and quit; asks first while calls other than test jobs are running. Press it "
        "again to kill the remaining processes, a third time to exit immediately.",
        "General",
        footer="Quit",
    ),
    Action(
        "quit_at_once",
        ("ctrl+c",),
        "Quit without asking",
        "Like Quit, but does not ask first.",
        "General",
    ),
)

BY_NAME = {action.name: action for action in ACTIONS}


class ActionProvider(Provider):
    """Provide the enabled actions, with their keys, to the command palette.

    It finds them by title and help.
    """

    async def discover(self) -> Hits:
        for action in self._enabled():
            shown = _with_keys(Content(action.title), action)
            yield DiscoveryHit(shown, self._run(action.name), action.title, help=action.help)

    async def search(self, query: str) -> Hits:
        matcher = self.matcher(query)
        for action in self._enabled():
            score = max(matcher.match(action.title), matcher.match(action.help) * 0.8)
            if score > 0:
                shown = _with_keys(matcher.highlight(action.title), action)
                yield Hit(score, shown, self._run(action.name), action.title, help=action.help)

    def _enabled(self) -> Iterator[Action]:
        """Yield the actions that can run now, with the user's keys."""
        actions: tuple[Action, ...] = getattr(self.app, "actions", ACTIONS)
        return (each for each in actions if self.app.check_action("act", (each.name,)) is True)

    def _run(self, name: str):  # type: ignore[no-untyped-def]
        async def run() -> None:
            await self.app.run_action(f"act({name!r})")

        return run


PALETTE_TITLE = 22
"""Cells of an action's title in the palette; its keys follow."""


def _with_keys(title: Content, action: Action) -> Content:
    blanks = " " * max(PALETTE_TITLE - title.cell_length, 2)
    return title + Content.styled(f"{blanks}{action.shown_keys}", "dim")
