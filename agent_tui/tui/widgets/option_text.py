"""The texts of options, and the state of pending edits; without widgets."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import PurePath

from textual.content import Content

from agent_tui.model.requests import Secrets
from agent_tui.model.settings import SettingsView
from agent_tui.model.state import AppState
from agent_tui.options.declare import BY_NAME, OPTIONS, Option, Section
from agent_tui.options.kinds import MASK
from agent_tui.options.permissions import Permissions
from agent_tui.options.resolve import (
    DEFAULT,
    OptionError,
    Resolution,
    SourcedValue,
    convert,
    defaults_of,
)
from agent_tui.options.urls import shown_url
from agent_tui.tui.widgets.text import MUTED, Line, Span, Tone, brief, cell, fact, wrapped

NAME_WIDTH = 25
HELP_INDENT = 11
_FIRST = ("numIdleProcesses", "logLevel", "jobMemoryWarnMB")

LIVE: tuple[Option, ...] = (
    *(BY_NAME[name] for name in _FIRST),
    *(option for option in OPTIONS if option.effect.is_live and option.name not in _FIRST),
)
"""Options that take effect in a running worker, the most used ones first."""

NOT_LIVE: tuple[Option, ...] = tuple(option for option in OPTIONS if not option.effect.is_live)


def written(option: Option, value: object) -> str:
    """Return a value as text, in the form that the option parses; secrets are masked."""
    if option.kind.secret:
        return MASK if value else ""
    return option.kind.write(value)


def _seen(option: Option, value: object) -> str:
    return "all" if value == Permissions() else written(option, value)


def effective(option: Option, resolution: Resolution) -> object:
    """Return the value in effect."""
    value: object = getattr(resolution.options, option.field)
    return value


def source(option: Option, resolution: Resolution) -> str:
    """Return where the value comes from: `default`, `--port`, `LIVEKIT_URL in .env:3`."""
    layer, where = resolution.sources[option.name]
    return brief(where or layer)


def edited(resolution: Resolution) -> int:
    """Return the number of options that were edited on the screen."""
    return sum(layer == "edited" for layer, _ in resolution.sources.values())


def note(option: Option, resolution: Resolution, fact: str = "") -> Content:
    """Return the note below an option: its source, the `fact`, and its help."""
    style = MUTED if resolution.sources[option.name] == (DEFAULT, "") else "$text-accent"
    return Content.assemble(
        (source(option, resolution), style), (f"{fact and ' · '}{fact}"), (f" · {option.help}", MUTED)
    )


def not_live(resolution: Resolution) -> Content:
    """Return the options that are not live, each with value, effect, source, and help."""
    parts = [Content.styled("── edit these with E ──", MUTED)]
    for option in NOT_LIVE:
        value = brief(_seen(option, effective(option, resolution)))
        shown = Content(value) if value else Content.styled("not set", MUTED)
        parts.append(cell(option.name, NAME_WIDTH) + shown)
        parts.append(Content.styled(f"{option.effect.label} · ", MUTED) + note(option, resolution))
    return Content("\n").join(parts)


def check(option: Option, text: str) -> str:
    """Return why the option refuses this text; empty if it is valid."""
    try:
        convert(option, SourcedValue(text, "typed"))
    except OptionError as error:
        return brief(str(error).removeprefix(f"{option.name}: "))
    return ""


def groups(options: Sequence[Option]) -> dict[Section, list[Option]]:
    """Return the options by section, in the order of `--help`."""
    found = {section: [each for each in options if each.section is section] for section in Section}
    return {section: each for section, each in found.items() if each}


def matches(option: Option, text: str) -> bool:
    """Return whether an option's name, flag, variables, section, or help contain all words of the text."""
    names = (option.name, option.flag, *option.environment, option.section.value, option.help)
    found = " ".join(names).casefold()
    return all(word in found for word in text.casefold().split())


def current_text(option: Option, settings: SettingsView, secrets: Secrets) -> str:
    """Return the option's value as text: the one pending for the next start, or else the one in effect.

    Secrets are not masked.
    """
    if option.kind.secret:
        return secrets.values[option.name]
    in_effect = option.kind.write(settings.resolution.value(option))
    return settings.pending.get(option.name, in_effect)


def is_changed(option: Option, settings: SettingsView) -> bool:
    """Return whether anything other than the defaults sets the option."""
    return settings.resolution.sources[option.name][0] != DEFAULT or option.name in settings.edited


def implied(state: AppState) -> Mapping[str, str]:
    """Return what is used in place of options that are not set: the agent file, and the server."""
    server = state.server
    used = {
        "agent": PurePath(state.agent).name,
        "wsURL": f"{shown_url(server.url)} ({server.kind})" if server is not None else "",
    }
    return {name: brief(text) for name, text in used.items() if text}


def difference(option: Option, before: str, after: str) -> str:
    """Return one edit as text, with secrets masked."""
    return f"{option.name} {_short(option, before)} → {_short(option, after)}"


def edit_note(option: Option, before: str) -> str:
    """Return the note on an edit: the value before, and when the new one applies."""
    return f"was {_short(option, before)} · applies {APPLIES[option.effect.label]}"


def _short(option: Option, text: str) -> str:
    return brief(MASK if option.kind.secret and text else text, 30) or "–"


APPLIES = {
    "live": "at once",
    "worker re-registers": "at once; the worker registers again",
    "restarts idle processes": "to new jobs; idle processes restart",
    "applies after restart": "at the next start, once it is saved",
}
"""When a new value applies, by the effect's label."""


def help_lines(
    option: Option, settings: SettingsView, width: int, *, used: str = "", compact: bool = False
) -> tuple[Line, ...]:
    """Return what an option does, its value, source, default, and type, and when a new value applies.

    `used` is what is used if it is not set; `compact` joins the facts to few rows.
    """
    resolution = settings.resolution
    value, pending = effective(option, resolution), settings.pending.get(option.name)
    facts = {
        "value": brief(_seen(option, value)) or (f"not set · uses {used}" if used else "not set"),
        "pending": "" if pending is None else brief(pending) or "not set",
        "from": source(option, resolution),
        "default": brief(
            _seen(option, option.default_for(defaults_of(resolution.options, settings.context)))
        ),
        "type": option.kind.expects,
        "applies": APPLIES[option.effect.label],
        "set by": ", ".join((option.flag, *option.environment)),
        "keys": "→ copies the value to edit it, Backspace sets it to empty"
        if _is_typed(option) and value
        else "",
    }
    shown = [(name, text) for name, text in facts.items() if text]
    head: Line = (Span(option.name, Tone.STRONG),)
    about = wrapped(option.help, width)
    if compact:
        rows = wrapped(" · ".join(f"{name} {text}" for name, text in shown), width)
        return (head, *((Span(row),) for row in about), *((Span(row, Tone.DIM),) for row in rows))
    lines = [line for name, text in shown for line in fact(name, text, HELP_INDENT, width)]
    return (head, *((Span(row),) for row in about), (), *lines)


def _is_typed(option: Option) -> bool:
    return not option.kind.words and option.kind.word != "NAME" and option.name != "permissions"


@dataclass(slots=True)
class Edit:
    """An option's value in effect, and the requested values without an answer yet, oldest first."""

    current: object = None
    asked: list[object] = field(default_factory=list)

    @property
    def target(self) -> object:
        """The value if all requests are accepted."""
        return self.asked[-1] if self.asked else self.current

    def receive(self, value: object) -> bool:
        """Set the value in effect; return whether it changed."""
        changed = value != self.current
        if value in self.asked:
            del self.asked[: self.asked.index(value) + 1]
        elif changed:
            self.asked.clear()
        self.current = value
        return changed

    def fail(self) -> None:
        """Discard all requested values."""
        self.asked.clear()
