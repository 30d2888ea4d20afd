"""The log pane's filters: the selected ones, and the available choices."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from agent_tui.model.logs import LogLevel
from agent_tui.model.state import AppState
from agent_tui.tui.widgets.log_text import HOST, Chip, owner_label, short_id
from agent_tui.tui.widgets.text import clip, one_line

LEVELS = (LogLevel.DEBUG, LogLevel.INFO, LogLevel.WARN, LogLevel.ERROR, LogLevel.FATAL)

LEVEL, OWNER, GENERATION = "level:", "owner:", "generation:"
"""Prefixes of filter names."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """The selected filters; an empty kind shows everything."""

    level: LogLevel | None = None
    """The lowest level shown; applies if it is above the option logLevel."""
    owners: frozenset[str] = frozenset()
    generations: frozenset[int] = frozenset()


def chips(chosen: Chosen, state: AppState | None) -> tuple[Chip, ...]:
    """Return a chip for each selected filter."""
    level = [] if chosen.level is None else [Chip(f"{LEVEL}{chosen.level.label}", f"{chosen.level.label}+")]
    owners = [Chip(f"{OWNER}{owner}", owner_label(owner, state)) for owner in sorted(chosen.owners)]
    generations = [Chip(f"{GENERATION}{number}", f"gen {number}") for number in sorted(chosen.generations)]
    return (*level, *owners, *generations)


def toggle(chosen: Chosen, name: str) -> Chosen:
    """Return the filters with one added, or removed if it was selected; a level replaces another."""
    kind, _, value = name.partition(":")
    if kind + ":" == LEVEL:
        level = LogLevel[value.upper()]
        return replace(chosen, level=None if chosen.level is level else level)
    if kind + ":" == OWNER:
        return replace(chosen, owners=chosen.owners ^ {value})
    return replace(chosen, generations=chosen.generations ^ {int(value)})


def without(chosen: Chosen, name: str) -> Chosen:
    """Return the filters without this one."""
    return toggle(chosen, name) if name in {chip.name for chip in chips(chosen, None)} else chosen


def choices(state: AppState, chosen: Chosen) -> Iterator[tuple[str, tuple[Chip, ...]]]:
    """Yield headings with their choices: known jobs, processes, and generations, and selected ones."""
    jobs = [job for job in reversed(list(state.jobs.values())) if job.process_id]
    known = {*state.processes, *state.jobs, ""}
    named = [f"{short_id(job.id)}  {clip(one_line(job.room), 30)}{_of(job.generation)}" for job in jobs]
    yield "Jobs", tuple(Chip(f"{OWNER}{job.id}", label) for job, label in zip(jobs, named, strict=True))
    processes = [
        Chip(f"{OWNER}{each.id}", f"{owner_label(each.id, state)}  {each.kind}{_of(each.generation)}")
        for each in state.processes.values()
    ]
    others = [Chip(f"{OWNER}{owner}", short_id(owner)) for owner in sorted(chosen.owners - known)]
    yield "Processes", (*processes, *others, Chip(OWNER, f"{HOST} itself"))
    numbers = {process.generation for process in state.processes.values()}
    numbers |= {job.generation for job in jobs} | chosen.generations
    yield (
        "Generations",
        tuple(Chip(f"{GENERATION}{number}", f"generation {number}") for number in sorted(numbers) if number),
    )


def _of(generation: int) -> str:
    return f", generation {generation}" if generation else ""
