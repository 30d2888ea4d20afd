"""Log lines for other programs: as text and as JSON lines, to the clipboard and to a file."""

import json
import math
import os
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

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


def write(name: str, lines: Iterable[LogLine], *, overwrite: bool = False) -> tuple[Path, int]:
    """Writes the lines into a file; tells its whole path and how many. None stays half written.

    Raises OSError, FileExistsError if there is one of that name and it is not to be overwritten; ValueError
    and RuntimeError for what cannot be a name.
    """
    path = Path(name).expanduser().absolute()
    if path.is_dir() or (path.exists() and not path.is_file()):
        raise OSError(f"{name} is no file")
    form, count = form_of(path), 0
    target = path.with_name(f".{path.name}.{os.getpid()}") if overwrite else path
    file = target.open("x", encoding="utf-8", errors="replace")
    try:
        with file:
            for line in lines:
                file.write(form(line) + "\n")
                count += 1
                if not count % CHUNK:
                    time.sleep(0)  # the screen's thread goes first
        if overwrite:
            target.replace(path)
    except BaseException:
        with suppress(OSError):
            target.unlink()
        raise
    return path, count


def date(ts: float) -> str:
    """The day with a space behind; empty for what is no time."""
    try:
        return time.strftime("%Y-%m-%d ", time.localtime(ts))
    except (ValueError, OverflowError, OSError):
        return ""
