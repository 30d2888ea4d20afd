"""Hints from earlier runs, such as the agent's imports, that make the next run start sooner.

They are stored per interpreter and agent file.
"""

import contextlib
import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from agent_tui.files import replace_file, user_folder

VERSION = 2

KEEP_DAYS = 90
"""Hints are removed this many days after the project was last run."""


@dataclass(frozen=True, slots=True)
class StartupHints:
    """Hints that make a run start sooner. Without them, the run determines everything again."""

    imports: tuple[str, ...] = ()
    """Installed modules that the project's code imports."""
    preloads: tuple[str, ...] = ()
    """What else a base should import (`PreloadHint`)."""
    template: bool = False
    """Whether loading took long enough for a template to be worth it."""


def hints_path(environ: Mapping[str, str], interpreter: Path, file: Path) -> Path | None:
    """Return where the hints are stored, in the user's cache folder; None if the user has no such folder."""
    try:
        cache = user_folder(environ, "XDG_CACHE_HOME", ".cache")
    except OSError:
        return None
    key = hashlib.sha256(f"{VERSION}\n{interpreter}\n{file.resolve()}".encode("utf-8", "surrogateescape"))
    return cache / "agent-tui" / f"{key.hexdigest()[:24]}.json"


def load_hints(path: Path) -> StartupHints:
    """Return the stored hints; empty ones if they cannot be read."""
    with contextlib.suppress(OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        if not path.is_file():
            return StartupHints()  # opening a FIFO would block
        kept = json.loads(path.read_text(encoding="utf-8"))
        return StartupHints(_names(kept["imports"]), _names(kept["preloads"]), kept["template"] is True)
    return StartupHints()


def save_hints(path: Path, hints: StartupHints) -> None:
    """Store the hints completely or not at all. If the file cannot be written, do nothing."""
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_file(path, lambda file: file.write(json.dumps(asdict(hints))))


def forget_unseen(path: Path, now: float) -> None:
    """Mark the project stored at `path` as used, and remove those not used for `KEEP_DAYS`."""
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
