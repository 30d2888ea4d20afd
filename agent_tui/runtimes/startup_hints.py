"""What earlier runs of an agent found out, for the next one to start sooner; per interpreter and file."""

import contextlib
import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from agent_tui.files import replace_file, user_folder

VERSION = 1

KEEP_DAYS = 90
"""Since a project was last run."""


@dataclass(frozen=True, slots=True)
class StartupHints:
    """Hints only: without them everything is found out again."""

    imports: tuple[str, ...] = ()
    """Modules of others that the project's code imports."""
    wants: tuple[str, ...] = ()
    """What else a base had better hold (`Wants`)."""
    template: bool = False
    """Loading took long enough for a template to be worth it."""


def hints_path(environ: Mapping[str, str], interpreter: Path, file: Path) -> Path | None:
    """Where it is kept: under the user's cache folder; None for a user without one."""
    try:
        cache = user_folder(environ, "XDG_CACHE_HOME", ".cache")
    except OSError:
        return None
    key = hashlib.sha256(f"{VERSION}\n{interpreter}\n{file.resolve()}".encode("utf-8", "surrogateescape"))
    return cache / "agent-tui" / f"{key.hexdigest()[:24]}.json"


def load_hints(path: Path) -> StartupHints:
    """What is kept there; nothing if it cannot be read."""
    with contextlib.suppress(OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        if not path.is_file():
            return StartupHints()  # reading a FIFO would never end
        kept = json.loads(path.read_text(encoding="utf-8"))
        return StartupHints(_names(kept["imports"]), _names(kept["wants"]), kept["template"] is True)
    return StartupHints()


def save_hints(path: Path, hints: StartupHints) -> None:
    """Keeps it, as a whole or not at all; a place that cannot be written is no trouble to anybody."""
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, lambda file: file.write(json.dumps(asdict(hints))))


def forget_unseen(path: Path, now: float) -> None:
    """Mark the project kept at `path` as seen, and remove what has not been seen for `KEEP_DAYS`."""
    with contextlib.suppress(OSError):
        os.utime(path, (now, now))
    with contextlib.suppress(OSError), os.scandir(path.parent) as entries:
        for entry in entries:
            if entry.is_file(follow_symlinks=False) and _age_days(entry, now) > KEEP_DAYS:
                with contextlib.suppress(OSError):
                    Path(entry).unlink()


def _age_days(entry: os.DirEntry[str], now: float) -> float:
    return (now - entry.stat(follow_symlinks=False).st_mtime) / 86_400


def _names(value: Sequence[object]) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise TypeError("not a list of names")
    return tuple(value)
