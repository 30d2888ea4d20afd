"""What earlier runs of an agent found out, for the next one to start sooner; per interpreter and file."""

import contextlib
import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

VERSION = 1


@dataclass(frozen=True, slots=True)
class Learned:
    """Hints only: without them everything is found out again."""

    imports: tuple[str, ...] = ()
    """Modules of others that the project's code imports."""
    wants: tuple[str, ...] = ()
    """What else a base had better hold (`Wants`)."""
    template: bool = False
    """Loading took long enough for a template to be worth it."""


def place(environ: Mapping[str, str], interpreter: Path, file: Path) -> Path:
    """Where it is kept: under the user's cache folder."""
    cache = Path(environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    key = hashlib.sha256(f"{VERSION}\n{interpreter}\n{file.resolve()}".encode("utf-8", "surrogateescape"))
    return cache / "agent-tui" / f"{key.hexdigest()[:24]}.json"


def recall(path: Path) -> Learned:
    """What is kept there; nothing if it cannot be read."""
    with contextlib.suppress(OSError, ValueError, TypeError, KeyError, AttributeError):
        kept = json.loads(path.read_text(encoding="utf-8"))
        return Learned(_names(kept["imports"]), _names(kept["wants"]), kept["template"] is True)
    return Learned()


def remember(path: Path, learned: Learned) -> None:
    """Keeps it, as a whole or not at all; a place that cannot be written is no trouble to anybody."""
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        fresh = path.with_suffix(f".{os.getpid()}")
        fresh.write_text(json.dumps(asdict(learned)), encoding="utf-8")
        fresh.replace(path)


def _names(value: Sequence[object]) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise TypeError("not a list of names")
    return tuple(value)
