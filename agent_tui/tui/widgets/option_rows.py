"""The texts of options, and the state of pending edits; without widgets."""

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
"""Options that apply to a running worker, the most used ones first."""

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
    """Return the note below an option: its source, `fact`, and its help."""
    style = MUTED if resolution.sources[option.name] == (DEFAULT, "") else "$text-accent"
    return Content.assemble(
        (source(option, resolution), style), (f"{fact and ' · '}{fact}"), (f" · {option.help}", MUTED)
    )


def not_live(resolution: Resolution) -> Content:
    """Return the options that are not live, each with value, effect, source, and help."""
    parts = [Content.styled("── not live: edit with E ──", MUTED)]
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
        """Drop all requested values."""
        self.asked.clear()
