"""Formats a sweep's table and advice, as text and for `tune_result`. Pure."""

import time
from collections.abc import Iterable, Sequence
from typing import Any

from msgspec.structs import fields

from agent_tui.model.tuning import Advice, Row, SweepResult
from agent_tui.tuning.advice import model_error
from agent_tui.tuning.results import RowChange, rows

_COLUMNS: tuple[tuple[str, str, str], ...] = (
    ("idle", "num_idle_processes", "d"),
    ("jobs", "jobs", "d"),
    ("lost", "lost", "d"),
    ("p50 ms", "p50_ms", ".1f"),
    ("p95 ms", "p95_ms", ".1f"),
    ("p99 ms", "p99_ms", ".1f"),
    ("warm", "warm_hit_rate", ".0%"),
    ("refill ms", "refill_p50_ms", ".0f"),
    ("warm-up ms", "warm_up_p50_ms", ".0f"),
    ("USS MB", "idle_uss_mb", ".1f"),
    ("PSS MB", "idle_pss_mb", ".1f"),
)
"""Heading, field of `Row`, and format of each column. Memory is the sum over all idle processes."""


def cells(row: Row) -> tuple[str, ...]:
    """Return the cells of a row, in the order of `headings`."""
    return tuple(_cell(getattr(row, name), form) for _, name, form in _COLUMNS)


def headings() -> tuple[str, ...]:
    """Return the headings of the columns."""
    return tuple(heading for heading, _, _ in _COLUMNS)


def table(rows: Iterable[Row]) -> list[str]:
    """Return the table as aligned lines."""
    lines: list[Sequence[str]] = [headings(), *(cells(row) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(_COLUMNS))]
    return ["  ".join(cell.rjust(width) for cell, width in zip(line, widths, strict=True)) for line in lines]


def advice_form(advice: Advice) -> dict[str, Any]:
    """Return the advice of `tune_result`; its figures are null if no count meets the target."""
    chosen = advice.chosen
    return {
        "num_idle_processes": advice.count,
        "target": advice.target.text or str(advice.target),
        "predicted": _round(chosen.predicted) if chosen else None,
        "measured": _round(chosen.measured) if chosen else None,
        "confidence": [_round(each) for each in chosen.confidence] if chosen else None,
        "sure": _round(chosen.sure) if chosen else None,
        "text": " ".join(line.strip() for line in advice.lines),
    }


def row_form(row: Row, advice: Advice) -> dict[str, Any]:
    """Return a row of `tune_result`, with the model's predictions."""
    form: dict[str, Any] = {each.name: _round(getattr(row, each.name)) for each in fields(Row)}
    candidate = next(
        (each for each in advice.candidates if each.num_idle_processes == row.num_idle_processes), None
    )
    if candidate is not None:
        form |= {
            "predicted_warm_hit_rate": _round(candidate.warm_predicted),
            "attained": _round(candidate.measured),
            "attained_interval": [_round(each) for each in candidate.interval],
            "predicted": _round(candidate.predicted),
            "confidence": [_round(each) for each in candidate.confidence],
            "sure": _round(candidate.sure),
        }
    return form


def _round(value: float | None) -> float | int | None:
    return round(value, 4) if isinstance(value, float) else value


def _cell(value: float | None, form: str) -> str:
    return "–" if value is None else format(value, form)


def comparison(changes: Sequence[RowChange], since: float) -> list[str]:
    """Return lines that compare this sweep with an earlier one, which started at `since` (Unix seconds)."""
    if not changes:
        return []
    day = time.strftime("%Y-%m-%d %H:%M", time.localtime(since))
    return [
        f"compared with the same test load on {day}:",
        *(
            f"  {each.num_idle_processes} idle: "
            f"p95 {_from_to(each.before.p95_ms, each.now.p95_ms, '.1f')} ms, "
            f"warm {_from_to(each.before.warm_hit_rate, each.now.warm_hit_rate, '.0%')}, "
            f"USS {_from_to(each.before.idle_uss_mb, each.now.idle_uss_mb, '.1f')} MB"
            for each in changes
        ),
    ]


def _from_to(before: float | None, now: float | None, form: str) -> str:
    return f"{_cell(before, form)} → {_cell(now, form)}"


def tune_result(result: SweepResult, advice: Advice, files: Sequence[str]) -> dict[str, Any]:
    """Return the result of a sweep: the last line of `agent-tui tune --json`."""
    load = result.load
    return {
        "event": "tune_result",
        "rows": [row_form(each, advice) for each in rows(result)],
        "advice": advice_form(advice),
        "load": {
            "pattern": load.pattern.value,
            "rate": load.rate,
            "end_rate": load.end_rate,
            "jobs": load.jobs,
            "job_length_s": load.job_length_s,
            "seed": load.seed,
        },
        "repeat": result.repeat,
        "model_error": _share(model_error(advice.candidates)),
        "ended": result.ended,
        "files": list(files),
    }


def _share(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
