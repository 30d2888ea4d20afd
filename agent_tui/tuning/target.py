"""What a count of idle processes has to reach: `p95<50ms`, `95% under 50ms`, `warm>99%`."""

import math
import re
from dataclasses import dataclass, field

EXPECTS = "p95<50ms, 95% under 50ms or warm>99%"

_NUMBER = r"([0-9]*\.?[0-9]+)"
_LATENCY = re.compile(
    rf"(?:p\s*{_NUMBER}|{_NUMBER}\s*%)\s*(?:<|under|below)\s*{_NUMBER}\s*(ms|s)", re.IGNORECASE
)
_WARM = re.compile(rf"warm\s*(>=|>|at least|over|above)\s*{_NUMBER}\s*%", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Target:
    """At least `share` of the jobs (more, if `above`) enter within `limit_ms` of their dispatch.

    Without a limit: find a process warm. A lost job misses every target.
    """

    share: float
    limit_ms: float | None = None
    above: bool = False
    text: str = field(default="", compare=False)
    """As it was written."""

    def __str__(self) -> str:
        if self.limit_ms is None:
            return f"warm{'>' if self.above else '>='}{self.share * 100:.10g}%"
        return f"p{self.share * 100:.10g}<{self.limit_ms:.10g}ms"

    def hit(self, latency_ms: float, warm: bool) -> bool:
        """Whether one job is as it should be; `latency_ms` is infinite for a lost one."""
        return warm if self.limit_ms is None else latency_ms < self.limit_ms

    def met(self, hits: int, jobs: int) -> bool:
        """Whether so many hits are enough; no jobs meet nothing."""
        needed = self.share * jobs
        return jobs > 0 and (hits > needed + 1e-9 if self.above else hits >= needed - 1e-9)


def parse_target(text: str) -> Target:
    """Raises ValueError with what is wrong, to follow the text itself."""
    plain = text.strip()
    if match := _LATENCY.fullmatch(plain):
        share = float(match[1] or match[2]) / 100
        limit_ms = float(match[3]) * (1000 if match[4].lower() == "s" else 1)
        if not 0 < share <= 1:
            raise ValueError("asks for a share that is not above 0 and at most 100 %")
        if not (limit_ms > 0 and math.isfinite(limit_ms)):
            raise ValueError("allows no time at all")
        return Target(share, limit_ms, text=plain)
    if match := _WARM.fullmatch(plain):
        share, above = float(match[2]) / 100, match[1].lower() not in (">=", "at least")
        if share > 1 or (share == 1 and above):
            raise ValueError("asks for more than all jobs")
        return Target(share, None, above, text=plain)
    raise ValueError("is not a target")
