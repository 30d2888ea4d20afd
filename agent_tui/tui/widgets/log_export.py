"""Log lines for other programs: as text and as JSON lines, to the clipboard and to a file."""

import json
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TextIO

from agent_tui.files import create_file, replace_file
from agent_tui.model.logs import LogLine
from agent_tui.tui.widgets.log_text import HOST, clock

MAX_COPIED = 1_000_000
"""Characters: terminals cut or refuse what is longer, and say nothing."""

CHUNK = 2_000


def as_text(line: LogLine) -> str:
    """A line with its date; further lines of a record stand below it as they are."""
    owner = line.job_id or line.source.process_id or HOST
    logger = f"{line.logger}: " if line.logger else ""
    stamp = f"{date(line.ts)}{clock(line.ts, millis=True)}"
    return f"{stamp} {line.level.name:<5} {owner} {logger}{line.text.rstrip()}"


def as_json(line: LogLine) -> str:
    """A line as one JSON object, with the names that `log` events have."""
    body: dict[str, Any] = {
        "event": "log",
        "ts": round(line.ts, 6) if math.isfinite(line.ts) else None,
        "level": line.level.label,
        "source": f"{line.source.process_id}:{line.source.stream}",
        "job_id": line.job_id,
        "generation": line.generation or None,
        "text": line.text,
    }
    body |= {"logger": line.logger} if line.logger else {}
    body |= {"fields": _finite(line.fields)} if line.fields else {}
    return json.dumps(body, ensure_ascii=False, default=str)


def _finite(value: Any) -> Any:
    """JSON has neither infinity nor NaN."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {name: _finite(each) for name, each in value.items()}
    return [_finite(each) for each in value] if isinstance(value, list) else value


def form_of(path: Path) -> Callable[[LogLine], str]:
    """How lines are written into a file of that name."""
    return as_json if path.suffix.lower() in (".jsonl", ".ndjson") else as_text


def default_name(now: float) -> str:
    """The name that is offered."""
    return time.strftime("agent-tui-%Y%m%d-%H%M%S.log", time.localtime(now))


def write(name: str, lines: Sequence[LogLine], *, overwrite: bool = False) -> tuple[Path, int]:
    """Writes the lines into a file; tells its whole path and how many. None stays half written.

    Raises OSError, FileExistsError if there is one of that name and it is not to be overwritten; ValueError
    and RuntimeError for what cannot be a name.
    """
    path = Path(name).expanduser().absolute()
    if path.is_dir() or (path.exists() and not path.is_file()):
        raise OSError(f"{name} is no file")
    form, count = form_of(path), 0

    def write_lines(file: TextIO) -> None:
        nonlocal count
        for count, line in enumerate(lines, 1):
            file.write(form(line).encode("utf-8", "replace").decode() + "\n")
            if not count % CHUNK:
                time.sleep(0)  # the screen's thread goes first

    if overwrite:
        replace_file(path, write_lines)
    else:
        create_file(path, write_lines)
    return path, count


def date(ts: float) -> str:
    """The day with a space behind; empty for what is no time."""
    try:
        return time.strftime("%Y-%m-%d ", time.localtime(ts))
    except (ValueError, OverflowError, OSError):
        return ""
