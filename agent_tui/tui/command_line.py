"""What can be typed after `:`, and its completions. Pure functions."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from agent_tui.model.errors import UserError
from agent_tui.model.logs import LogLevel
from agent_tui.model.state import AppState, JobView
from agent_tui.options.declare import OPTIONS
from agent_tui.tui.actions import ACTIONS, BY_NAME
from agent_tui.tui.widgets.text import one_line

LEVELS = (LogLevel.DEBUG, LogLevel.INFO, LogLevel.WARN, LogLevel.ERROR)


@dataclass(frozen=True, slots=True)
class Verb:
    """A command with arguments: their names, and what it does."""

    arguments: tuple[str, ...]
    help: str


VERBS: Mapping[str, Verb] = {
    "dispatch": Verb(("ROOM",), "Start a test job in that room."),
    "job": Verb(("ROOM or ID",), "Open the page of a job."),
    "set": Verb(("OPTION", "VALUE"), "Set an option of the running worker."),
    "level": Verb(("LEVEL",), "Set logLevel."),
    "gen": Verb(("NUMBER",), "Open a generation on its page."),
    "rollback": Verb(("NUMBER",), "Roll back to the code of a generation."),
}
"""Commands that take arguments, the most used first. Every action is a command without arguments; some are
both.
"""


@dataclass(frozen=True, slots=True)
class Typed:
    """A command as typed: a verb of `VERBS` or the name of an action, and its arguments."""

    verb: str
    arguments: tuple[str, ...] = ()

    @property
    def number(self) -> int:
        """The first argument as a number. Raise UserError if it is not a number."""
        if not self.arguments[0].isdecimal():
            raise UserError(f":{self.verb} {self.arguments[0]} is not a number, such as :{self.verb} 5")
        return int(self.arguments[0])


def parse(text: str) -> Typed:
    """Return the command. Raise UserError if it is unknown or has too few or too many arguments."""
    verb, *rest = text.split(None, 1) or [""]
    verb = verb.replace("-", "_").lower()
    if verb not in VERBS and verb not in _NAMES:
        raise UserError(f":{one_line(verb)} is unknown: Tab lists the commands")
    wanted = VERBS[verb].arguments if verb in VERBS and (rest or verb not in _NAMES) else ()
    # The last argument is the rest of the line: rooms and values may contain blanks.
    arguments = tuple(rest[0].split(None, len(wanted) - 1)) if rest and wanted else tuple(rest)
    if len(arguments) != len(wanted):
        raise UserError(f"type :{' '.join((verb, *wanted))}" if wanted else f":{verb} has no arguments")
    return Typed(verb, tuple(each.strip() for each in arguments))


def option_name(text: str) -> str:
    """Return the option's name; case does not matter. Raise UserError if there is no such option."""
    for option in OPTIONS:
        if option.name.lower() == text.lower():
            return option.name
    raise UserError(f"{one_line(text)} is not an option: Tab lists them after :set")


def find_job(text: str, jobs: Mapping[str, JobView]) -> JobView:
    """Return the newest job with that id or in that room. Raise UserError if there is none."""
    found = [job for job in jobs.values() if text in (job.id, job.room)]
    if not found:
        raise UserError(f"no job in a room named {one_line(text)}: Tab lists the rooms after :job")
    return max(found, key=lambda job: job.offered)


def completions(text: str, state: AppState) -> tuple[str, ...]:
    """Return the commands that start with the typed text and can run now, the most likely ones first."""
    verb, blank, rest = text.partition(" ")
    if not blank:
        actions = sorted((each for each in ACTIONS if each.enabled(state)), key=lambda each: not each.footer)
        return _starting(text, dict.fromkeys((*VERBS, *(each.name for each in actions))))
    return tuple(f"{verb} {each}" for each in _arguments(verb, rest, state))


def describe(text: str) -> str:
    """Return what a command does, with its arguments; empty if it is unknown or not typed completely."""
    name, _, arguments = text.partition(" ")
    name = name.lower().replace("-", "_")
    action = BY_NAME.get(name)
    if (verb := VERBS.get(name)) is not None:
        usage = f":{name} {' '.join(verb.arguments)}: {verb.help}"
        return usage if arguments or action is None else f"{_first_sentence(action.help)} {usage}"
    return "" if action is None else _first_sentence(action.help)


def _first_sentence(text: str) -> str:
    return text.partition(". ")[0].rstrip(".") + "."


def _arguments(verb: str, text: str, state: AppState) -> tuple[str, ...]:
    match verb:
        case "gen":
            return _starting(text, (str(load.number) for load in reversed(state.loads)))
        case "rollback":
            good = (load.number for load in reversed(state.loads) if load.good)
            return _starting(text, (str(each) for each in good if each != state.generation.current))
        case "job" | "dispatch":
            newest = sorted(state.jobs.values(), key=lambda job: job.offered, reverse=True)
            return _starting(text, dict.fromkeys(one_line(job.room) for job in newest))
        case "level":
            return _starting(text, (level.label for level in LEVELS))
        case "set":
            return _settings(text, state)
    return ()


def _settings(text: str, state: AppState) -> tuple[str, ...]:
    """Return the option names that fit. After a complete name, return the option's current value instead."""
    name, blank, value = text.partition(" ")
    if not blank:
        return _starting(name, (option.name for option in OPTIONS))
    known = next((each for each in OPTIONS if each.name.lower() == name.lower()), None)
    if known is None or known.kind.secret:
        return ()
    present = known.kind.write(getattr(state.settings.options, known.field))
    return (f"{known.name} {present}",) if present.startswith(value) else ()


def _starting(text: str, words: Iterable[str]) -> tuple[str, ...]:
    return tuple(word for word in words if word.lower().startswith(text.lower()))


_NAMES = tuple(action.name for action in ACTIONS)
