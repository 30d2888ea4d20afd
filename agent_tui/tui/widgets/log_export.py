"""Export of log lines as text or JSON lines, to the clipboard or a file."""

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
"""Maximum characters to copy; terminals silently cut or ignore longer text."""

CHUNK = 2_000


def as_text(line: LogLine) -> str:
    """Return a record as text: date, level, owner, text; further lines of the record follow unchanged."""
    owner = line.job_id or line.source.process_id or HOST
    logger = f"{line.logger}: " if line.logger else ""
    stamp = f"{date(line.ts)}{clock(line.ts, millis=True)}"
    return f"{stamp} {line.level.name:<5} {owner} {logger}{line.text.rstrip()}"


def as_json(line: LogLine) -> str:
    """Return a record as a JSON object with the fields of the `log` event."""
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
    """Replace infinity and NaN by None, because JSON has neither."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, dict):
        return {name: _finite(each) for name, each in value.items()}
    return [_finite(each) for each in value] if isinstance(value, list) else value


def form_of(path: Path) -> Callable[[LogLine], str]:
    """Return the format for a file: JSON lines for .jsonl and .ndjson, otherwise text."""
    return as_json if path.suffix.lower() in (".jsonl", ".ndjson") else as_text


def default_name(now: float) -> str:
    """Return the suggested file name; `now` is in Unix seconds."""
    return time.strftime("agent-tui-%Y%m%d-%H%M%S.log", time.localtime(now))


def write(
    name: str, lines: Sequence[LogLine], *, overwrite: bool = False, folder: Path | None = None
) -> tuple[Path, int]:
    """Write the lines to a file, all or nothing; return its absolute path and the number of lines.

    `folder` is created if the file is in it. Any other missing folder may be a typo, and so is an error.
    Raises FileExistsError if the file exists and `overwrite` is False, another OSError if writing fails, and
    ValueError or RuntimeError for an invalid name.
    """
    path = Path(name).expanduser().absolute()
    if path.is_dir() or (path.exists() and not path.is_file()):
        raise OSError(f"{name} is not a regular file")
    if path.parent == folder:
        folder.mkdir(parents=True, exist_ok=True)
    form, count = form_of(path), 0

    def write_lines(file: TextIO) -> None:
        nonlocal count
        for count, line in enumerate(lines, 1):
            file.write(form(line).encode("utf-8", "replace").decode() + "\n")
            if not count % CHUNK:
                time.sleep(0)  # let the screen's thread run

    if overwrite:
        replace_file(path, write_lines)
    else:
        create_file(path, write_lines)
    return path, count


def date(ts: float) -> str:
    """Return the local date with a trailing space; empty for an invalid time."""
    try:
        return time.strftime("%Y-%m-%d ", time.localtime(ts))
    except (ValueError, OverflowError, OSError):
        return ""
