"""The table `[screen]` of the config file: the theme, the keymap, custom keys, and where exports go."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from textual.keys import _character_to_key
from textual.theme import BUILTIN_THEMES, Theme

from agent_tui.files import state_folder
from agent_tui.model.errors import UserError
from agent_tui.tui.actions import Action, key_name
from agent_tui.tui.widgets.talk_steps import DEFAULT_LIMITS, Limits

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
DARK = Theme(
    name="dark",
    primary="#0178d4",
    secondary="#004578",
    accent="#5cb0ff",
    foreground="#e0e0e0",
    success="#4ebf71",
    warning="#ffa62b",
    error="#ba3c5b",
    dark=True,
    variables={
        "footer-key-foreground": "#5cb0ff",
        "block-cursor-background": "#0a5ba8",
        "block-cursor-foreground": "#ffffff",
        "scrollbar": "#5a5a5a",
        "scrollbar-hover": "#7a7a7a",
        "scrollbar-active": "#9a9a9a",
        "scrollbar-background": "#1e1e1e",
        "scrollbar-background-hover": "#1e1e1e",
        "scrollbar-background-active": "#1e1e1e",
    },
)
"""The default. In Textual's dark theme the focus has the color of warnings."""

LIGHT = Theme(
    name="light",
    primary="#0a4f9e",
    secondary="#0a4f9e",
    accent="#0a4f9e",
    foreground="#121212",
    background="#ffffff",
    surface="#fcfcfc",
    panel="#e9ecf0",
    success="#145a27",
    warning="#734400",
    error="#a3122a",
    dark=False,
    variables={
        "primary-muted": "#c9daef",
        "foreground-muted": "#494949",
        "text-muted": "#494949",
        "text-disabled": "#545454",
        "text-success": "#145a27",
        "text-warning": "#734400",
        "text-error": "#a3122a",
        "text-accent": "#0a4f9e",
        "text-primary": "#0a4f9e",
        "footer-key-foreground": "#0a4f9e",
        "block-cursor-background": "#0a4f9e",
        "block-cursor-foreground": "#ffffff",
    },
)
"""Textual's light theme shows warnings and hints at a contrast of 3; this one at 4.5 and more."""

OWN_THEMES = (DARK, LIGHT, HIGH_CONTRAST)

THEMES = (*BUILTIN_THEMES, *(theme.name for theme in OWN_THEMES))


LIMITS = {
    "slow_turn_ms": "turn_ms",
    "slow_part_ms": "part_ms",
    "slow_stall_ms": "stall_ms",
    "slow_memory_mb": "memory_mb",
}
"""The keys of the limits, and the fields of `Limits`."""


@dataclass(frozen=True, slots=True)
class Keymap:
    """A set of keys. Names of keys are in Textual's spelling."""

    moves: Mapping[str, str] = field(default_factory=dict)
    """Keys that act as another one, except where text is typed."""
    keys: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """The keys of actions whose own keys are among `moves`."""


VIM = "vim"
KEYMAPS = {
    VIM: Keymap(
        {"j": "down", "k": "up", "g": "home", "G": "end"},
        {"job": ("J",), "generations": ("H",)},
    )
}


@dataclass(frozen=True, slots=True)
class Preferences:
    """The user's screen settings. `keys` maps an action's name to its keys, in Textual's spelling."""

    theme: str = ""
    keys: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    moves: Mapping[str, str] = field(default_factory=dict)
    """The keymap's keys that act as another one, except where text is typed."""
    exports: Path | None = None
    """The folder of screenshots, logs, and conversations; None for the default, `default_exports`."""
    limits: Limits = DEFAULT_LIMITS
    """Which turns of a conversation are slow."""

    @property
    def bindings(self) -> dict[str, str]:
        """The keys in the form that `App.set_keymap` expects."""
        return {name: ",".join(keys) for name, keys in self.keys.items()}


def read_preferences(table: Mapping[str, object], where: str, actions: Sequence[Action]) -> Preferences:
    """Read the table of the file `where`. Raises UserError for invalid names and values."""
    single = ("theme", "keymap", "exports", *LIMITS)
    for name in table.keys() - {"keys", *single}:
        known = f"{', '.join(f'screen.{each}' for each in single)}, or [screen.keys]"
        raise UserError(f"screen.{name} ({where}) is unknown: use {known}")
    theme = table.get("theme", "")
    if not isinstance(theme, str) or (theme and theme not in THEMES):
        raise UserError(f"screen.theme = {theme!r} ({where}) is not a theme: use one of {', '.join(THEMES)}")
    keys = table.get("keys", {})
    if not isinstance(keys, Mapping):
        raise UserError(
            f"screen.keys = {keys!r} ({where}) is not a table: write [screen.keys], then name = key"
        )
    read = {name: _keys(name, value, where, actions) for name, value in keys.items()}
    keymap = _keymap(table.get("keymap", ""), where)
    chosen = {**keymap.keys, **read}
    _refuse_clashes(remapped(actions, chosen), chosen, keymap.moves, where)
    limits = replace(
        DEFAULT_LIMITS, **{LIMITS[name]: _ms(name, table[name], where) for name in LIMITS if name in table}
    )
    return Preferences(theme, chosen, keymap.moves, _exports(table.get("exports", ""), where), limits)


def _ms(name: str, value: object, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < float("inf"):
        raise UserError(
            f"screen.{name} = {value!r} ({where}) is not a number of milliseconds: use one such as 1500, "
            "or 0 for no limit"
        )
    return float(value)


def default_exports(environ: Mapping[str, str]) -> Path:
    """Return the folder of exports for users that did not choose one. Raise OSError without a home folder."""
    return state_folder(environ) / "exports"


def _exports(value: object, where: str) -> Path | None:
    """Return the chosen folder. A relative path starts at the folder of the config file."""
    if value == "":
        return None
    try:
        if not isinstance(value, str) or "\0" in value:
            raise RuntimeError("not a path")
        return (Path(where).parent / Path(value).expanduser()).absolute()
    except RuntimeError as error:  # also a user that is not known (~name)
        raise UserError(
            f"screen.exports = {value!r} ({where}) is not a folder ({error}): use a path such as ~/Pictures"
        ) from None


def remapped(actions: Iterable[Action], keys: Mapping[str, tuple[str, ...]]) -> tuple[Action, ...]:
    """Return the actions with the user's keys in place of the defaults."""
    return tuple(replace(each, keys=keys.get(each.name, each.keys)) for each in actions)


def _keymap(value: object, where: str) -> Keymap:
    if value == "":
        return Keymap()
    if not isinstance(value, str) or value not in KEYMAPS:
        names = " or ".join(f'"{name}"' for name in KEYMAPS)
        raise UserError(
            f"screen.keymap = {value!r} ({where}) is not a keymap: use {names}, or remove the line"
        )
    return KEYMAPS[value]


def _keys(name: str, value: object, where: str, actions: Sequence[Action]) -> tuple[str, ...]:
    known = [action.name for action in actions]
    if name not in known:
        raise UserError(f"screen.keys.{name} ({where}) is not an action: use one of {', '.join(known)}")
    given = value if isinstance(value, list) else [value]
    texts = [text.strip() for text in given if isinstance(text, str) and text.strip()]
    if not texts or len(texts) != len(given):
        raise UserError(
            f"screen.keys.{name} = {value!r} ({where}) is not a key: use one such as 'f5', 'ctrl+r', or 'W'"
        )
    return tuple(_character_to_key(text) if len(text) == 1 else text for text in texts)


def _refuse_clashes(
    actions: Iterable[Action], chosen: Mapping[str, object], moves: Mapping[str, str], where: str
) -> None:
    of_key = {key: f"screen.keymap (as {key_name(other)})" for key, other in moves.items()}
    for action in actions:
        for key in action.keys:
            other = of_key.setdefault(key, action.name)
            if other != action.name and (key in moves or {other, action.name} & chosen.keys()):
                both = f"{other} and {action.name}"
                raise UserError(
                    f"screen.keys ({where}): {key!r} is bound to {both}; choose another key for one of them"
                )
