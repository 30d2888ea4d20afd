"""The UI state: what the screen remembers between runs, in one file per project."""

import hashlib
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal

from msgspec import Meta, Struct, ValidationError, convert, to_builtins

from agent_tui.files import replace_file, state_folder
from agent_tui.options.envfiles import agent_folder, project_root
from agent_tui.reading import read_file
from agent_tui.tui.preferences import THEMES
from agent_tui.tui.widgets.detail_text import Tab
from agent_tui.tui.widgets.table import Order

MAX_BYTES = 2**16

Share = Annotated[float, Meta(gt=0, lt=1)]
LevelName = Literal["trace", "debug", "info", "warn", "error", "fatal"]


class UiState(Struct, frozen=True, omit_defaults=True):
    """What the file holds; what the user has not changed is left out."""

    theme: str = ""
    """The theme that was picked in the palette."""
    tab: Tab = Tab.TALK
    splits: dict[str, Share] = {}
    """Shares by the value of `Split`."""
    sort: dict[str, Order] = {}
    """Orders by the table's name."""
    log_level: LevelName | None = None
    """The level filter of the logs."""
    log_wrap: bool = False


def ui_state_file(environ: Mapping[str, str], agent: Path) -> Path:
    """Return the file of the agent's project. Raise OSError for a user without a home folder."""
    folder = project_root(agent) or agent_folder(agent)
    key = hashlib.sha256(str(folder).encode("utf-8", "surrogateescape")).hexdigest()[:12]
    return state_folder(environ) / "screen" / f"{folder.name or 'root'}-{key}.toml"


def read_ui_state(path: Path) -> UiState:
    """Read the file; a missing one is an empty state. Unknown keys are ignored.

    Raise OSError if it cannot be read, or ValueError if its content is not valid.
    """
    try:
        state = convert(tomllib.loads(read_file(path, MAX_BYTES).decode()), UiState)
    except FileNotFoundError:
        return UiState()
    except ValidationError as error:
        what, _, where = str(error).partition(" - at `$.")
        raise ValueError(f"{where.rstrip('`')}: {what}" if where else what) from None
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    if state.theme and state.theme not in THEMES:
        raise ValueError(f"theme: {state.theme!r} is not a theme")
    return state


def write_ui_state(path: Path, state: UiState) -> None:
    """Write the file, all or nothing. Raise OSError."""
    import tomli_w  # here, because importing it would delay the start

    path.parent.mkdir(parents=True, exist_ok=True)
    replace_file(path, lambda file: file.write(tomli_w.dumps(to_builtins(state))))
