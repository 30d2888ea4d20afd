"""The options in words, and what is known of an edit under way: no widgets here."""

from dataclasses import dataclass, field

from textual.content import Content

from agent_tui.options.declare import BY_NAME, OPTIONS, Option
from agent_tui.options.kinds import MASK
from agent_tui.options.permissions import Permissions
from agent_tui.options.resolve import DEFAULT, OptionError, Resolution, SourcedValue, convert
from agent_tui.tui.widgets.text import MUTED, brief, cell

NAME_WIDTH = 25
_FIRST = ("numIdleProcesses", "logLevel", "jobMemoryWarnMB")

LIVE: tuple[Option, ...] = (
    *(BY_NAME[name] for name in _FIRST),
    *(option for option in OPTIONS if option.effect.is_live and option.name not in _FIRST),
)
"""Options that a running worker takes at once, those that are changed most first."""

NEXT_START: tuple[Option, ...] = tuple(option for option in OPTIONS if not option.effect.is_live)


def written(option: Option, value: object) -> str:
    """A value as one would type it for this option; secrets masked."""
    if option.kind.secret:
        return MASK if value else ""
    return option.kind.write(value)


def _seen(option: Option, value: object) -> str:
    return "all, not hidden" if value == Permissions() else written(option, value)


def effective(option: Option, resolution: Resolution) -> object:
    """The value in force, as the options hold it."""
    value: object = getattr(resolution.options, option.field)
    return value


def source(option: Option, resolution: Resolution) -> str:
    """Where the value comes from: `default`, `--port`, `LIVEKIT_URL in .env:3`."""
    layer, where = resolution.sources[option.name]
    return brief(where or layer)


def edited(resolution: Resolution) -> int:
    """How many options differ because they were edited here."""
    return sum(layer == "edited" for layer, _ in resolution.sources.values())


def note(option: Option, resolution: Resolution, fact: str = "") -> Content:
    """The line below an option: its source, what came of it, and what it is for."""
    style = MUTED if resolution.sources[option.name] == (DEFAULT, "") else "$text-accent"
    return Content.assemble(
        (source(option, resolution), style), (f"{fact and ' · '}{fact}"), (f" · {option.help}", MUTED)
    )


def next_start(resolution: Resolution) -> Content:
    """The options that only another start changes, each with value, source and help."""
    parts = [Content.styled("── not at once: E opens all options ──", MUTED)]
    for option in NEXT_START:
        value = brief(_seen(option, effective(option, resolution)))
        shown = Content(value) if value else Content.styled("not set", MUTED)
        parts.append(cell(option.name, NAME_WIDTH) + shown)
        parts.append(note(option, resolution))
    return Content("\n").join(parts)


def check(option: Option, text: str) -> str:
    """Why the option does not take this text, or nothing when it does."""
    try:
        convert(option, SourcedValue(text, "typed"))
    except OptionError as error:
        return brief(str(error).removeprefix(f"{option.name}: "))
    return ""


@dataclass(slots=True)
class Edit:
    """One option's value in force and those asked for since, oldest first, that no answer came to yet."""

    current: object = None
    asked: list[object] = field(default_factory=list)

    @property
    def target(self) -> object:
        """What the value will be if all goes well."""
        return self.asked[-1] if self.asked else self.current

    def receive(self, value: object) -> bool:
        """Takes the value in force; tells whether it is another one than before."""
        changed = value != self.current
        if value in self.asked:
            del self.asked[: self.asked.index(value) + 1]
        elif changed:
            self.asked.clear()
        self.current = value
        return changed

    def fail(self) -> None:
        """Nothing of what was asked for came to be."""
        self.asked.clear()
