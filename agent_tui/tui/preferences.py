"""What the table `[screen]` of the config file says about the screen: the theme, and keys of one's own."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from textual.keys import _character_to_key
from textual.theme import BUILTIN_THEMES, Theme

from agent_tui.model.errors import UserError
from agent_tui.tui.actions import Action

HIGH_CONTRAST = Theme(
    name="high-contrast",
    primary="#ffff00",
    secondary="#00ffff",
    accent="#ffff00",
    foreground="#ffffff",
    background="#000000",
    surface="#000000",
    panel="#1a1a1a",
    success="#00ff00",
    warning="#ffff00",
    error="#ff6060",
    dark=True,
    variables={"foreground-muted": "#e0e0e0", "text-muted": "#e0e0e0", "block-cursor-background": "#ffff00"},
)
THEMES = (*BUILTIN_THEMES, HIGH_CONTRAST.name)


@dataclass(frozen=True, slots=True)
class Preferences:
    """How the screen is to be. `keys` has the keys of an action by its name, as Textual spells them."""

    theme: str = ""
    keys: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def keymap(self) -> dict[str, str]:
        """As `App.set_keymap` takes it."""
        return {name: ",".join(keys) for name, keys in self.keys.items()}


def read_preferences(table: Mapping[str, object], where: str, actions: Sequence[Action]) -> Preferences:
    """The table's content; `where` names its file. Raises UserError for what cannot be meant."""
    for name in table.keys() - {"theme", "keys"}:
        raise UserError(f"screen.{name} ({where}) is not known: give screen.theme or [screen.keys]")
    theme = table.get("theme", "")
    if not isinstance(theme, str) or (theme and theme not in THEMES):
        raise UserError(f"screen.theme = {theme!r} ({where}) is no theme: give one of {', '.join(THEMES)}")
    keys = table.get("keys", {})
    if not isinstance(keys, Mapping):
        raise UserError(
            f"screen.keys = {keys!r} ({where}) is not a table: write [screen.keys], then name = key"
        )
    read = {name: _keys(name, value, where, actions) for name, value in keys.items()}
    _refuse_clashes(remapped(actions, read), read, where)
    return Preferences(theme, read)


def remapped(actions: Iterable[Action], keys: Mapping[str, tuple[str, ...]]) -> tuple[Action, ...]:
    """The actions under the keys that were chosen for them."""
    return tuple(replace(each, keys=keys.get(each.name, each.keys)) for each in actions)


def _keys(name: str, value: object, where: str, actions: Sequence[Action]) -> tuple[str, ...]:
    known = [action.name for action in actions]
    if name not in known:
        raise UserError(f"screen.keys.{name} ({where}) is no action: {', '.join(known)}")
    given = value if isinstance(value, list) else [value]
    texts = [text.strip() for text in given if isinstance(text, str) and text.strip()]
    if not texts or len(texts) != len(given):
        raise UserError(
            f"screen.keys.{name} = {value!r} ({where}) is no key: give one as 'f5', 'ctrl+r' or 'W'"
        )
    return tuple(_character_to_key(text) if len(text) == 1 else text for text in texts)


def _refuse_clashes(actions: Iterable[Action], chosen: Mapping[str, object], where: str) -> None:
    of_key: dict[str, str] = {}
    for action in actions:
        for key in action.keys:
            other = of_key.setdefault(key, action.name)
            if other != action.name and {other, action.name} & chosen.keys():
                both = f"{other} and {action.name}"
                raise UserError(
                    f"screen.keys ({where}): {key!r} is the key of {both}; give one of them another"
                )
