"""The one registry of what the screen can do: bindings, palette, help, and docs/keys.md are made from it."""

from collections.abc import Callable
from dataclasses import dataclass

from textual.command import DiscoveryHit, Hit, Hits, Provider
from textual.message import Message

from agent_tui.model.state import AppState


def _always(state: AppState) -> bool:
    return True


def _broken_while_serving(state: AppState) -> bool:
    return state.generation.is_broken and state.generation.current > 0


def _serving(state: AppState) -> bool:
    return state.generation.current > 0 and not state.stopping


@dataclass
class ActionRequested(Message):
    """A panel was clicked where it offers an action of the registry."""

    name: str


@dataclass(frozen=True, slots=True)
class Action:
    """One thing to do: `tui/action_handlers/` has a method of its name. `enabled`: when it makes sense."""

    name: str
    keys: tuple[str, ...]
    title: str
    help: str
    group: str
    enabled: Callable[[AppState], bool] = _always
    footer: str = ""
    """A short word for the footer; without one it is not there."""

    @property
    def shown_keys(self) -> str:
        """The keys as people write them."""
        return " ".join(_KEY_NAMES.get(key, key) for key in self.keys)


_KEY_NAMES = {
    "plus": "+",
    "equals_sign": "=",
    "minus": "-",
    "slash": "/",
    "question_mark": "?",
    "ctrl+c": "Ctrl+C",
    "escape": "Esc",
    "f12": "F12",
}

ACTIONS: tuple[Action, ...] = (
    Action(
        "dispatch",
        ("d",),
        "Dispatch",
        "Make a test job, as last time: a new room, or CreateDispatch for an agent with a name.",
        "Test jobs",
        _serving,
        footer="Dispatch",
    ),
    Action(
        "dispatch_form",
        ("D",),
        "Dispatch…",
        "Make test jobs with a count, a room's name and metadata.",
        "Test jobs",
        _serving,
    ),
    Action(
        "copy_link",
        ("c",),
        "Copy join link",
        "Copy a link into the room of the last test job; it holds a token for one hour.",
        "Test jobs",
        _serving,
    ),
    Action(
        "open_link",
        ("o",),
        "Open in browser",
        "Join the room of the last test job in the browser, always the same room.",
        "Test jobs",
        _serving,
    ),
    Action(
        "end",
        ("x",),
        "End job",
        "End the job of the selected process in good order; asks first where people may be in its room.",
        "Processes",
        footer="End",
    ),
    Action(
        "stacks",
        ("s",),
        "Show stacks",
        "Show what the selected process does right now, also when its event loop is blocked.",
        "Processes",
        _serving,
    ),
    Action(
        "job",
        ("j",),
        "Jobs",
        "List the running jobs and the last that ended; Enter there, or on a process, opens a job's page.",
        "Processes",
    ),
    Action(
        "breaches",
        ("B",),
        "Breaches",
        "Show all memory warnings and limit events with the memory of their processes.",
        "Processes",
    ),
    Action(
        "restart",
        ("R",),
        "Restart job",
        "Run the selected process's job anew on the current code, as the same agent.",
        "Processes",
    ),
    Action(
        "sort",
        ("S",),
        "Sort",
        "Sort the processes by the next column; a click on a column's head sorts by that one.",
        "Processes",
    ),
    Action(
        "more_idle",
        ("plus", "equals_sign"),
        "One more idle",
        "Keep one more process warm (numIdleProcesses), at once.",
        "Processes",
        _serving,
        footer="Idle",
    ),
    Action(
        "less_idle",
        ("minus",),
        "One less idle",
        "Keep one process less warm (numIdleProcesses), at once.",
        "Processes",
        _serving,
    ),
    Action(
        "load",
        ("b",),
        "Burst or ramp…",
        "Make many test jobs: all at once, steady, Poisson or a ramp; the tuning page shows how they fare.",
        "Tuning",
        _serving,
    ),
    Action(
        "sweep",
        ("w",),
        "Sweep…",
        "Measure the same load with different counts of idle processes, and get advice which is enough.",
        "Tuning",
        _serving,
    ),
    Action(
        "tuning",
        ("T",),
        "Tuning",
        "Show the load or sweep that runs, or what the last one measured; closing the page ends neither.",
        "Tuning",
        footer="Tuning",
    ),
    Action(
        "apply_advice",
        ("a",),
        "Apply the advice",
        "Keep as many processes warm as the last sweep advises (numIdleProcesses), at once.",
        "Tuning",
        _serving,
    ),
    Action(
        "owner",
        ("L",),
        "Logs of this one",
        "Show only the log lines of the selected process; again shows all.",
        "Logs",
    ),
    Action(
        "log_filters",
        ("F",),
        "Filter…",
        "Choose a level for this view, jobs, processes and generations; each is shown above the lines.",
        "Logs",
    ),
    Action(
        "find",
        ("slash",),
        "Find",
        "Find text in the log lines, or with re: before it a regular expression; Esc ends it.",
        "Logs",
        footer="Find",
    ),
    Action("find_next", ("n",), "Next match", "Go to the next line that was found.", "Logs"),
    Action("find_previous", ("N",), "Previous match", "Go to the line that was found before.", "Logs"),
    Action(
        "only_found", ("m",), "Only matches", "Show only the lines that were found; again shows all.", "Logs"
    ),
    Action(
        "go_to_time",
        ("t",),
        "Go to a time…",
        "Go to a time of day (12:04:31, 10:15) or so far from the line you are at (-30s, +2m).",
        "Logs",
    ),
    Action("fold", ("z",), "Fold", "Fold the selected record (a traceback), or unfold it.", "Logs"),
    Action("fold_all", ("Z",), "Fold all", "Fold all long records, or unfold all.", "Logs"),
    Action("copy_lines", ("y",), "Copy lines", "Copy the selected log lines as text.", "Logs"),
    Action(
        "export_logs",
        ("X",),
        "Write to a file…",
        "Write the log lines that the filters show into a file: text, or JSON lines (.jsonl).",
        "Logs",
    ),
    Action(
        "level",
        ("l",),
        "Level",
        "Show log lines from the next level on (logLevel), at once.",
        "Logs",
    ),
    Action("follow", ("f",), "Follow", "Go to the newest log line and stay there.", "Logs"),
    Action("reload", ("r",), "Reload", "Load the agent's file again now.", "Agent", footer="Reload"),
    Action(
        "pause",
        ("p",),
        "Pause watching",
        "Load no saves until it is pressed again; then what changed meanwhile is loaded.",
        "Agent",
    ),
    Action(
        "generations",
        ("g",),
        "Generations",
        "Show each load of the agent's code: what changed, how long it took, why it failed; roll back.",
        "Agent",
    ),
    Action(
        "close_trouble",
        ("escape",),
        "Close the message",
        "Take the message of a save that does not load away, until the next one.",
        "Agent",
        _broken_while_serving,
    ),
    Action(
        "edit",
        ("e",),
        "Edit",
        "Open the line that does not load, or else the agent's file, in $VISUAL, $EDITOR, vi or nano.",
        "Agent",
    ),
    Action(
        "worker",
        ("i",),
        "Worker",
        "Show where the worker stands: server, region, reconnects and why, load and offers, addresses.",
        "General",
    ),
    Action(
        "options",
        ("O",),
        "Options",
        "Go to options and test jobs; on a narrow terminal they take the others' place, and give it back.",
        "General",
    ),
    Action(
        "all_options",
        ("E",),
        "All options…",
        "Edit every option in a form: applied as one step, undone, saved to agent-tui.toml or exported.",
        "General",
        footer="Options",
    ),
    Action(
        "picture",
        ("f12",),
        "Picture",
        "Save a picture of the screen (SVG) to the working folder, with secrets masked.",
        "General",
    ),
    Action("help", ("question_mark",), "Help", "Show all keys.", "General", footer="Help"),
    Action(
        "drain",
        ("Q",),
        "Quit after the jobs",
        "Take no more jobs, let the running ones finish (drainTimeout), then leave; q again ends them.",
        "General",
    ),
    Action(
        "quit",
        ("q", "ctrl+c"),
        "Quit",
        "End jobs gracefully and leave; a second time kills what is left, a third leaves whatever hangs.",
        "General",
        footer="Quit",
    ),
)

BY_NAME = {action.name: action for action in ACTIONS}


class ActionProvider(Provider):
    """The command palette: the actions that make sense now, found by their title and help."""

    async def discover(self) -> Hits:
        for action in ACTIONS:
            if self._enabled(action.name):
                yield DiscoveryHit(action.title, self._run(action.name), help=action.help)

    async def search(self, query: str) -> Hits:
        matcher = self.matcher(query)
        for action in ACTIONS:
            score = max(matcher.match(action.title), matcher.match(action.help) * 0.8)
            if score > 0 and self._enabled(action.name):
                yield Hit(score, matcher.highlight(action.title), self._run(action.name), help=action.help)

    def _enabled(self, name: str) -> bool:
        return self.app.check_action("act", (name,)) is True

    def _run(self, name: str):  # type: ignore[no-untyped-def]
        async def run() -> None:
            await self.app.run_action(f"act({name!r})")

        return run
