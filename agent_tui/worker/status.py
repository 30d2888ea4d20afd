"""What to tell the server about load, and what to make of a measure. Pure functions."""

import math
from dataclasses import dataclass

from agent_tui.model.gate import is_full
from agent_tui.worker.messages import WorkerStatus

FULL_LOAD = 1.0
"""The server makes no difference between loads above this one (worker-protocol §6.1)."""


@dataclass(frozen=True, slots=True)
class Report:
    """Status and load as they go to the server, always together (worker-protocol §8)."""

    status: WorkerStatus
    load: float


@dataclass(frozen=True, slots=True)
class Measured:
    """The load now in force, and what is wrong with its measure, if anything."""

    load: float = 0.0
    problem: str | None = None


def report(measured: float, *, threshold: float, draining: bool, production: bool) -> Report:
    """The report for a measured load.

    In development a load below the threshold is told as 0: the developer's own browser or compiler would
    otherwise make the server skip the only worker there is.
    """
    load = min(measured, FULL_LOAD)
    if draining or is_full(measured, threshold):
        return Report(WorkerStatus.FULL, load)
    return Report(WorkerStatus.AVAILABLE, load if production else 0.0)


def judge(before: Measured, value: float) -> Measured:
    """The load to go on with after a new measure.

    A load is between 0 and 1 but may be more. Negative counts as 0 and infinite as 1; a NaN says nothing,
    so the load before it stays. All three are a problem of the load function and named as one.
    """
    if math.isnan(value):
        return Measured(before.load, "the load function returned NaN; the last load is kept")
    if value < 0:
        return Measured(0.0, f"the load function returned {value}; a load is at least 0, so 0 is used")
    if math.isinf(value):
        return Measured(FULL_LOAD, "the load function returned infinity; 1 is used")
    return Measured(value)
