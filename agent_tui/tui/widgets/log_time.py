"""Parses the times that users type to go to a place in the log."""

import re
import time

UNITS = {"ms": 0.001, "": 1.0, "s": 1.0, "m": 60.0, "h": 3_600.0, "d": 86_400.0}
EXAMPLES = "12:04:31, 10:15, -30s, or +2m"
DAY_S = 86_400

_STEP = re.compile(r"([+-])\s*(\d{1,9}(?:\.\d{1,6})?)\s*(ms|[smhd]?)", re.ASCII)
_CLOCK = re.compile(r"(\d{1,2}):(\d{2})(?::(\d{2})(?:[.,](\d{1,6}))?)?", re.ASCII)


def parse_time(typed: str, here: float, oldest: float, newest: float) -> float:
    """Parse a time of day or a step; return Unix seconds. Raises ValueError.

    A step is relative to the current line (`here`). A time of day is on the newest line's day; if that is
    after the newest line and the lines reach back far enough, it is on the day before.
    """
    typed = typed.strip()
    if step := _STEP.fullmatch(typed):
        sign, number, unit = step.groups()
        return here + float(sign + number) * UNITS[unit]
    if not (match := _CLOCK.fullmatch(typed)):
        raise ValueError(f"not a time: enter {EXAMPLES}")
    hour, minute, second = (int(part or 0) for part in match.groups()[:3])
    if hour > 23 or minute > 59 or second > 59:
        raise ValueError(f"{match.group()} is not a time of day")
    fraction = float(f"0.{match.group(4) or 0}")
    at = _on_day(newest, hour, minute, second) + fraction
    before = _on_day(newest - DAY_S, hour, minute, second) + fraction
    return before if at > newest and before >= oldest else at


def _on_day(ts: float, hour: int, minute: int, second: int) -> float:
    try:
        day = time.localtime(ts)
        return time.mktime((day.tm_year, day.tm_mon, day.tm_mday, hour, minute, second, 0, 0, -1))
    except (ValueError, OverflowError, OSError):
        raise ValueError("the newest line has no valid time") from None
