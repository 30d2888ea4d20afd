"""Simulates the pool: which jobs find a warm process, and how long the others wait.

The mechanism is that of `processes/pool.py`; docs/tuning.md describes it. The pool keeps `count` processes
idle. Each job takes one, and the pool starts another once no offer has been accepted for a moment. The number
of concurrent starts is limited. A process that becomes ready goes to the job that has waited longest.
"""

import heapq
import math
import random
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from agent_tui.processes.pool import REFILL_AFTER_S
from agent_tui.settings.settings import starting_at_once


@dataclass(frozen=True, slots=True)
class PoolRule:
    """The parameters of the pool that decide how long jobs wait."""

    starts_at_once: int
    refill_after_s: float = REFILL_AFTER_S


def pool_rule_here() -> PoolRule:
    """Return the parameters of the pool on this machine."""
    return PoolRule(starting_at_once())


class PoolModel:
    """A pool that starts with `count` idle processes."""

    def __init__(self, count: int, warm_up: Callable[[], float], rule: PoolRule) -> None:
        self._count = count
        self._warm_up = warm_up
        self._rule = rule
        self._idle = count
        self._starting: list[float] = []
        """A heap of the times at which the starting processes become ready."""
        self._waiting: deque[tuple[int, float]] = deque()
        self._refill_at = -math.inf

    def run(self, arrivals: Sequence[float]) -> list[float | None]:
        """Return how long each job waits for a process, in seconds; None for a job that finds a warm one."""
        waits: list[float | None] = [None] * len(arrivals)
        for number, at in enumerate(arrivals):
            self._advance(at, waits)
            self._refill_at = at + self._rule.refill_after_s
            if self._idle:
                self._idle -= 1
            else:
                self._waiting.append((number, at))
            self._start(at)
        self._advance(math.inf, waits)
        return waits

    def _advance(self, until: float, waits: list[float | None]) -> None:
        """Simulate everything up to that time, in order."""
        while True:
            ready = self._starting[0] if self._starting else math.inf
            refill = self._refill_at if self._held_back() else math.inf
            now = min(ready, refill)
            if now > until or now == math.inf:
                return
            if ready <= refill:
                heapq.heappop(self._starting)
                if self._waiting:
                    number, since = self._waiting.popleft()
                    waits[number] = now - since
                else:
                    self._idle += 1
                self._start(now)
            else:
                self._refill_at = -math.inf
                self._start(now)

    def _held_back(self) -> bool:
        """Return whether a process could start now if the last accepted job were not so recent."""
        return (
            self._refill_at > -math.inf
            and self._short() > 0
            and len(self._starting) < self._rule.starts_at_once
        )

    def _short(self) -> int:
        return self._count + len(self._waiting) - self._idle - len(self._starting)

    def _start(self, now: float) -> None:
        short = self._short()
        if now < self._refill_at:
            short -= self._count
        for _ in range(min(short, self._rule.starts_at_once - len(self._starting))):
            heapq.heappush(self._starting, now + self._warm_up())


def simulate(
    arrivals: Sequence[float], count: int, warm_ups: Sequence[float], rule: PoolRule, rng: random.Random
) -> list[float | None]:
    """Return how long each job waits, as `PoolModel.run`, with warm-up times drawn from `warm_ups`."""
    drawn, many = rng.random, len(warm_ups)
    return PoolModel(count, lambda: warm_ups[int(drawn() * many)], rule).run(arrivals)
