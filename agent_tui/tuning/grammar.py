"""Parses what users write for a sweep: `2/s`, `1-5/s`, `0-4`, `0,1,2,4`, `p95<50ms`. Pure.

The text of a ValueError continues the sentence that starts with the value: "is not a rate".
"""

import math
import re

from agent_tui.model.tuning import Target

RATE_EXPECTS = "a rate such as 2/s, 30/m, or 0.5/s, or two rates for a ramp, such as 1-5/s"
TARGET_EXPECTS = "p95<50ms, 95% under 50ms, or warm>99%"
COUNTS_EXPECTS = "counts of idle processes such as 0-4 or 0,1,2,4"
MAX_IDLE = 256
"""The largest value of numIdleProcesses."""

_PER_S = {"s": 1.0, "m": 60.0, "h": 3600.0}
_NUMBER = r"([0-9]*\.?[0-9]+)"
_RATE = re.compile(rf"\s*{_NUMBER}(?:\s*-\s*{_NUMBER})?\s*(?:/\s*(s|m|h))?\s*", re.IGNORECASE)


def parse_rate(text: str) -> tuple[float, float | None]:
    """Return the rate in jobs per second, and the rate at the end of a ramp. The default unit is `/s`.

    Raises ValueError if the text is not a rate above 0.
    """
    match = _RATE.fullmatch(text)
    if match is None:
        raise ValueError("is not a rate")
    unit = _PER_S[(match[3] or "s").lower()]
    rate, end = float(match[1]) / unit, None if match[2] is None else float(match[2]) / unit
    if not all(each > 0 and math.isfinite(each) for each in (rate, end) if each is not None):
        raise ValueError("is not a rate above 0")
    return rate, end


def rate_text(rate: float, end: float | None = None) -> str:
    """Return the rate as text that `parse_rate` accepts, in the unit that reads best."""
    unit = next((name for name, size in _PER_S.items() if rate * size >= 0.1), "h")
    scale = _PER_S[unit]
    return f"{rate * scale:g}" + ("" if end is None else f"-{end * scale:g}") + f"/{unit}"


def parse_counts(text: str) -> tuple[int, ...]:
    """Return the counts in order, each once. Raises ValueError for other text, and above `MAX_IDLE`."""
    found: set[int] = set()
    for part in text.split(","):
        low, dash, high = (piece.strip() for piece in part.partition("-"))
        if not (low.isascii() and low.isdigit() and (not dash or (high.isascii() and high.isdigit()))):
            raise ValueError("is not a list of counts")
        first, last = int(low), int(high) if dash else int(low)
        if last > MAX_IDLE:
            raise ValueError(f"is above {MAX_IDLE}")
        if last < first:
            raise ValueError("is a range whose end is below its start")
        found.update(range(first, last + 1))
    return tuple(sorted(found))


_LATENCY = re.compile(
    rf"(?:p\s*{_NUMBER}|{_NUMBER}\s*%)\s*(?:<|under|below)\s*{_NUMBER}\s*(ms|s)", re.IGNORECASE
)
_WARM = re.compile(rf"warm\s*(>=|>|at least|over|above)\s*{_NUMBER}\s*%", re.IGNORECASE)


def parse_target(text: str) -> Target:
    """Return the target. Raises ValueError for other text, and for a target that cannot be met."""
    plain = text.strip()
    if match := _LATENCY.fullmatch(plain):
        share = float(match[1] or match[2]) / 100
        limit_ms = float(match[3]) * (1000 if match[4].lower() == "s" else 1)
        if not 0 < share <= 1:
            raise ValueError("asks for a share outside 0 to 100%")
        if not (limit_ms > 0 and math.isfinite(limit_ms)):
            raise ValueError("allows no time")
        return Target(share, limit_ms, text=plain)
    if match := _WARM.fullmatch(plain):
        share, above = float(match[2]) / 100, match[1].lower() not in (">=", "at least")
        if share > 1 or (share == 1 and above):
            raise ValueError("asks for more than 100%")
        return Target(share, None, above, text=plain)
    raise ValueError("is not a target")
