"""The advice of a sweep in plain words: what to set, what that gains and costs, and how sure it is."""

from collections.abc import Sequence

from agent_tui.model.tuning import Row, SweepView
from agent_tui.tui.widgets.live_rows import cut
from agent_tui.tui.widgets.text import (
    Line,
    Span,
    Tone,
    counted,
    megabytes,
    milliseconds,
    one_line,
    pad,
    percent,
    wrapped,
)
from agent_tui.tuning.results import rows

NOTE = "note: "
LUCKY = "also met it this time"
"""Texts that mark two kinds of advice lines: notes, and smaller counts that met the target by luck."""


def advice_lines(view: SweepView, wanted: int, width: int) -> tuple[Line, ...]:
    """Return the advice and how to apply and save it; `wanted` is the current numIdleProcesses."""
    advice = view.advice
    if advice is None or not view.result.runs:
        return ((), *_hanging("▲ ", why, width, Tone.WARN)) if (why := no_advice(view)) else ()
    first, *rest = (one_line(line) for line in advice.lines)
    notes = [line for line in rest if line.startswith(NOTE)]
    if advice.count is None:
        tips = ("try more counts or a lower rate (w), or a target that one of them meets", *notes)
        return ((), *_hanging("▲ ", first, width, Tone.WARN), *_all_hanging(tips, width))
    if wanted == advice.count:
        now: Line = (Span("  ✓ applied", Tone.GOOD),)
    else:
        now = (Span("  a", Tone.KEY), Span(" apply"))
    how = (
        *now,
        Span(" · "),
        Span("E Ctrl+W", Tone.KEY),
        Span(" save to agent-tui.toml · or start with "),
        Span(f"--num-idle-processes {advice.count}", Tone.STRONG),
    )
    set_it = f"set numIdleProcesses to {advice.count}" if advice.chosen is not None else first
    lucky = [line for line in rest if LUCKY in line]
    facts = [
        line
        for name, text in advice_facts(view)
        for line in _hanging(f"  {pad(name, 7)}", text, width, Tone.PLAIN)
    ]
    return (
        (),
        (Span(f"★ {set_it}", Tone.GOOD),),
        *facts,
        *_all_hanging((*lucky, *notes), width),
        cut(how, width),
    )


def no_advice(view: SweepView) -> str:
    """Return why a sweep that has ended has no advice; empty if it has some or failed to start."""
    is_advised = view.advice is not None and view.result.runs
    if view.outcome is None or view.outcome.error or is_advised:
        return ""
    when = "advice was computed" if view.result.runs else "a run had finished"
    return f"no advice: the sweep ended before {when} · w starts another"


def advice_text(view: SweepView) -> str:
    """Return the advice of a finished sweep, or why there is none, in one line."""
    if view.advice is not None and view.advice.lines:
        return one_line(view.advice.lines[0])
    return "the last sweep measured nothing"


def advice_facts(view: SweepView) -> tuple[tuple[str, str], ...]:
    """Return what the recommended count gains, what it costs, and how sure that is, in plain words."""
    advice = view.advice
    chosen = None if advice is None else advice.chosen
    measured = {row.num_idle_processes: row for row in rows(view.result)}
    if advice is None or chosen is None or chosen.num_idle_processes not in measured:
        return ()
    row, target = measured[chosen.num_idle_processes], advice.target
    within = "find a warm process" if target.limit_ms is None else f"start within {target.limit_ms:g} ms"
    smaller = [each for each in advice.candidates if each.num_idle_processes < chosen.num_idle_processes]
    instead = (
        f"; with {smaller[-1].num_idle_processes} idle {_share(smaller[-1].measured)}" if smaller else ""
    )
    p95 = "" if row.p95_ms is None else f"; p95 {milliseconds(row.p95_ms)}"
    gains = f"{_share(chosen.measured)} of {counted(chosen.jobs, 'job')} {within}{p95}{instead}"
    low, high = chosen.confidence
    sure = f"expect {_share(low)} to {_share(high)} of the jobs in a new run"
    if chosen.sure is not None:
        sure = f"{_share(chosen.sure)} of new runs would meet {one_line(target.text or str(target))}; {sure}"
    return ("gains", gains), ("costs", _costs(row)), ("sure", sure)


def _costs(row: Row) -> str:
    """Return the memory of the idle processes in words."""
    if not row.num_idle_processes:
        return "no memory: no process waits, so each call waits for one to start"
    found = next(
        ((total, name) for total, name in ((row.idle_pss_mb, "PSS"), (row.idle_uss_mb, "USS")) if total), None
    )
    if found is None:
        return "memory not measured"
    total, name = found
    each = f", {megabytes(total / row.num_idle_processes)} each" if row.num_idle_processes > 1 else ""
    idle = counted(row.num_idle_processes, "idle process", "idle processes")
    return f"{megabytes(total)} of memory ({name}) for {idle}{each}"


def _share(share: float) -> str:
    """Return a share in percent; only exactly none and all are shown as 0% and 100%."""
    text = percent(share)
    if text == "100%" and share < 1:
        return ">99%"
    return "<1%" if text == "0%" and share > 0 else text


def _hanging(head: str, text: str, width: int, tone: Tone) -> tuple[Line, ...]:
    """Return a label and its text; further rows are indented."""
    first, *rest = wrapped(text, width - len(head))
    return (
        (Span(head, Tone.DIM if tone is Tone.PLAIN else tone), Span(first, tone)),
        *((Span(" " * len(head)), Span(row, tone)) for row in rest),
    )


def _all_hanging(texts: Sequence[str], width: int) -> list[Line]:
    marked = [("  ▲ ", text.removeprefix(NOTE)) if text.startswith(NOTE) else ("  ", text) for text in texts]
    return [
        line
        for head, text in marked
        for line in _hanging(head, text, width, Tone.WARN if "▲" in head else Tone.DIM)
    ]
