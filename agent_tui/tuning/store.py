"""Saves sweeps as JSON, and their tables as CSV, and compares a sweep with an earlier one."""

import csv
import hashlib
import io
import json
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from msgspec import ValidationError, convert, to_builtins
from msgspec.structs import asdict, fields

from agent_tui.files import replace_file, state_folder
from agent_tui.model.tuning import (
    Advice,
    Row,
    SweepResult,
    TestLoad,
)
from agent_tui.tuning.report import advice_form
from agent_tui.tuning.results import RowChange, rows

VERSION = 1


def folder(environ: Mapping[str, str], agent: str) -> Path:
    """Return the folder of an agent's sweeps, in the user's state folder. Raises OSError if there is none."""
    file = Path(agent).resolve()
    key = hashlib.sha256(str(file).encode("utf-8", "surrogateescape")).hexdigest()[:12]
    return state_folder(environ) / "sweeps" / f"{file.stem}-{key}"


def save(place: Path, result: SweepResult, advice: Advice | None = None) -> tuple[Path, Path]:
    """Write the JSON and the CSV file, and return their paths. Raises OSError if that fails."""
    place.mkdir(parents=True, exist_ok=True)
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(result.started))
    base = place / stamp
    number = 1
    while base.with_suffix(".json").exists():  # another sweep started in the same second
        number += 1
        base = place / f"{stamp}-{number}"
    names = base.with_suffix(".json"), base.with_suffix(".csv")
    replace_file(names[1], lambda file: file.write(rows_to_csv(rows(result))))
    replace_file(names[0], lambda file: file.write(json.dumps(to_form(result, advice), indent=1) + "\n"))
    return names


def why_not_saved(error: OSError) -> str:
    """Return why a sweep was not saved, in a few words."""
    cause = error.strerror or str(error)
    return f"cannot write {error.filename} ({cause})" if error.filename else cause


def earlier(place: Path, before: float | None = None) -> list[SweepResult]:
    """Return the sweeps saved in a folder, the newest first. Other files are ignored.

    With `before`, return only sweeps that started before that time (Unix seconds).
    """
    found = []
    for path in place.glob("*.json") if place.is_dir() else ():
        if not path.is_file():
            continue  # reading a FIFO could block forever
        try:
            found.append(from_form(json.loads(path.read_text(encoding="utf-8"))))
        except (OSError, ValueError, TypeError, KeyError, AttributeError):
            continue
    kept = [result for result in found if before is None or result.started < before]
    return sorted(kept, key=lambda result: result.started, reverse=True)


# -- forms -----------------------------------------------------------------------------------------------


def to_form(result: SweepResult, advice: Advice | None = None) -> dict[str, Any]:
    """Return a sweep as data for JSON."""
    form = {"version": VERSION, **to_builtins(result), "rows": [asdict(each) for each in rows(result)]}
    if advice is not None:
        form["advice"] = advice_form(advice)
    return form


def from_form(form: Mapping[str, Any]) -> SweepResult:
    """Return the sweep of `to_form`'s data. Raise ValueError for other data."""
    if form["version"] != VERSION:
        raise ValueError(f"unknown version {form['version']}")
    try:
        return convert(form, SweepResult)
    except ValidationError as error:
        raise ValueError(str(error)) from None


def rows_to_csv(table: Iterable[Row]) -> str:
    """Return the rows as CSV, with a heading. Unknown values are empty."""
    text = io.StringIO()
    names = [each.name for each in fields(Row)]
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(each) for each in table)
    return text.getvalue()


# -- comparing -------------------------------------------------------------------------------------------


def compare(now: Iterable[Row], before: Iterable[Row]) -> tuple[RowChange, ...]:
    """Return what changed, for each number of idle processes that is in both tables."""
    old = {each.num_idle_processes: each for each in before}
    return tuple(
        RowChange(each.num_idle_processes, old[each.num_idle_processes], each)
        for each in now
        if each.num_idle_processes in old
    )


def comparable(load: TestLoad, sweeps: Sequence[SweepResult]) -> SweepResult | None:
    """Return the newest sweep of the same test load; its seed and number of jobs may differ.

    Return None if there is no such sweep.
    """
    return next((each for each in sweeps if _kind(each.load) == _kind(load)), None)


def _kind(load: TestLoad) -> tuple[object, ...]:
    return load.pattern, load.rate, load.end_rate, load.job_length_s
