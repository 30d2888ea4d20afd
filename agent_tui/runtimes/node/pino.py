"""The SDK's log lines: pino's JSON on stdout (agents-js.md §8.1)."""

import json

from agent_tui.model.logs import LineRecord, LogLevel

LEVELS = {
    10: LogLevel.TRACE,
    20: LogLevel.DEBUG,
    30: LogLevel.INFO,
    40: LogLevel.WARN,
    50: LogLevel.ERROR,
    60: LogLevel.FATAL,
}
LEFT_OUT = ("level", "time", "pid", "hostname", "msg", "name", "v")


def parse(line: str) -> LineRecord | None:
    """Return the log record in a line; None if the line is not one, but the agent's own output."""
    if not line.startswith('{"level":'):
        return None
    try:
        raw = json.loads(line)
        level, ts = LEVELS[raw["level"]], float(raw["time"]) / 1000
    except (ValueError, LookupError, TypeError, RecursionError):
        return None
    text = str(raw.get("msg", ""))
    fields = {name: value for name, value in raw.items() if name not in LEFT_OUT}
    for name in ("error", "err"):
        error = fields.get(name)
        if isinstance(error, dict) and isinstance(error.get("stack"), str):
            del fields[name]
            text = f"{text}\n{error['stack']}" if text else error["stack"]
    return LineRecord(level, ts, text, str(raw.get("name", "")), fields)
