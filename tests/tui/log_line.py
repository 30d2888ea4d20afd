"""A log line, for tests."""

from agent_tui.model.logs import LogLevel, LogLine, LogSource, LogStream


def line(
    index: int,
    text: str = "hello",
    level: LogLevel = LogLevel.INFO,
    process: str = "p1",
    job: str | None = None,
    ts: float = 0.0,
) -> LogLine:
    return LogLine(index, ts, level, LogSource(process, LogStream.STDOUT), job, text)
