"""The summary that stays on the terminal after the screen has closed. Pure functions."""

from agent_tui.model.state import AppState
from agent_tui.model.wording import counted
from agent_tui.tui.widgets.header import latencies
from agent_tui.tui.widgets.text import duration, milliseconds, one_line, percentile


def summary(state: AppState, seconds: float) -> str:
    """Return at most five lines: how long it ran, how its jobs ended, latency, breaches, and the log."""
    lines = [
        ("ran", f"{duration(seconds)}, {_loads(state)}"),
        ("jobs", _jobs(state)),
        ("p95", _latency(state)),
        ("memory", _breaches(state)),
        ("log", "not saved (X saves it while agent-tui runs)" if state.log_end else ""),
    ]
    return "\n".join(f"{name:<8}{one_line(text)}" for name, text in lines if text)


def _loads(state: AppState) -> str:
    failed = sum(not load.good for load in state.loads)
    text = counted(sum(load.good for load in state.loads), "load") + " of the code"
    return f"{text}, {failed} failed" if failed else text


def _jobs(state: AppState) -> str:
    totals = state.totals
    if not totals.started and not totals.lost:
        return "none"
    ends = ((totals.success, "success"), (totals.failed, "failed"), (totals.terminated, "terminated"))
    named = ", ".join(f"{count} {word}" for count, word in ends if count)
    lost = f"; {counted(totals.lost, 'dispatch')} lost" if totals.lost else ""
    return f"{totals.started} started" + (f": {named}" if named else "") + lost


def _latency(state: AppState) -> str:
    name, times = latencies(state)
    if not times:
        return ""
    warm = f", {100 * state.totals.warm / state.totals.started:.0f}% warm" if state.totals.started else ""
    return f"{milliseconds(percentile(times, 0.95))} {name}{warm}"


def _breaches(state: AppState) -> str:
    limits = sum(warned.over_limit for _, warned in state.breaches)
    warnings = len(state.breaches) - limits
    if not state.breaches:
        return ""
    return ", ".join(
        text
        for count, text in (
            (warnings, counted(warnings, "warning")),
            (limits, f"{counted(limits, 'job')} over the limit"),
        )
        if count
    )
