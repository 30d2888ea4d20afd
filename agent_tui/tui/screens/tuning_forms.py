"""The forms of a test load and of a sweep."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from agent_tui.model.state import AppState
from agent_tui.model.tuning import Pattern, SweepPlan, Target, TestLoad
from agent_tui.options import kinds
from agent_tui.tui.screens.fields import Field, FieldForm, Note, Values, checked, seconds
from agent_tui.tui.screens.page import Follower
from agent_tui.tui.widgets.sweep_rows import run_s
from agent_tui.tui.widgets.text import Line, Span, Tone, counted, duration
from agent_tui.tuning import grammar
from agent_tui.tuning.grammar import parse_counts, parse_rate, parse_target, rate_text
from agent_tui.tuning.recorder import SETTLE_WITHIN_S

PATTERNS = {
    Pattern.BURST.value: "all at once",
    Pattern.STEADY.value: "steady: evenly spaced",
    Pattern.POISSON.value: "Poisson: like calls from many people",
    Pattern.RAMP.value: "ramp: from one rate to another",
}
JOBS = kinds.integer(1, 10_000)
REPEAT = kinds.integer(1, 100)
SEED = kinds.integer(0, 2**31 - 1)
LENGTH_EXPECTS = "500ms, 2s, or 1m"
RATE_EXPECTS = "2/s, 30/m, or 1-5/s for a ramp"
COUNTS_EXPECTS = "0-4 or 0,2"
TARGET_EXPECTS = "p95<50ms or warm>99%"
SEED_EXPECTS = "a whole number such as 1"


@dataclass(frozen=True, slots=True)
class SweepRequest:
    """The result of the sweep form."""

    plan: SweepPlan
    target: Target


FIRST_TEST_LOAD = TestLoad(10, 2.0, Pattern.BURST, job_length_s=2.0)
FIRST_SWEEP = SweepRequest(SweepPlan(TestLoad(50, 2.0), (0, 1, 2, 3, 4)), parse_target("p95<50ms"))


def counts_text(counts: Sequence[int]) -> str:
    """Return the counts in a form that `parse_counts` reads: `0-4`, `0,1,4`."""
    runs = [
        [number for _, number in group]
        for _, group in itertools.groupby(enumerate(counts), lambda pair: pair[1] - pair[0])
    ]
    return ",".join(
        f"{run[0]}-{run[-1]}" if len(run) > 2 else ",".join(str(number) for number in run) for run in runs
    )


def rate_note(text: str, pattern: Pattern) -> Note:
    """Return the note on the rate; a ramp needs two rates, other patterns one."""
    note = checked(parse_rate, text, RATE_EXPECTS)
    if note.wrong:
        return note
    _, end = parse_rate(text)
    if pattern is Pattern.BURST:
        return Note("not used: all jobs start at once")
    if pattern is Pattern.RAMP and end is None:
        return Note("a ramp needs two rates: enter one such as 1-5/s", wrong=True)
    if pattern is not Pattern.RAMP and end is not None:
        return Note("only a ramp has two rates: enter one, such as 2/s", wrong=True)
    return Note(
        "jobs per second or minute: 2/s, 30/m" if end is None else "from the first rate to the second"
    )


def load_fields(load: TestLoad) -> tuple[Field, ...]:
    """Return the fields of a load."""
    return (
        Field("jobs", "Jobs", str(load.jobs)),
        Field("pattern", "Arrivals", load.pattern.value, PATTERNS),
        Field("rate", "Rate", rate_text(load.rate, load.end_rate)),
        Field("length", "Job length", f"{load.job_length_s:g}s"),
        Field("seed", "Seed", str(load.seed)),
    )


def load_notes(values: Values) -> dict[str, Note]:
    """Return the notes below the fields of a load."""
    return {
        "jobs": checked(JOBS.convert, values["jobs"], JOBS.expects, "test jobs"),
        "pattern": Note("← → select"),
        "rate": rate_note(values["rate"], Pattern(values["pattern"])),
        "length": checked(seconds, values["length"], LENGTH_EXPECTS, "each job ends after this time"),
        "seed": checked(SEED.convert, values["seed"], SEED_EXPECTS, "the same seed gives the same arrivals"),
    }


def read_load(values: Values) -> TestLoad:
    """Return the load for valid values."""
    rate, end = parse_rate(values["rate"])
    pattern = Pattern(values["pattern"])
    return TestLoad(
        _integer(JOBS, values["jobs"]),
        rate,
        pattern,
        end if pattern is Pattern.RAMP else None,
        seconds(values["length"]),
        _integer(SEED, values["seed"]),
    )


def _integer(kind: kinds.OptionKind, text: str) -> int:
    """Convert valid text, including `1e3`."""
    value = kind.convert(text)
    assert isinstance(value, int)
    return value


class TestLoadForm(FieldForm[TestLoad]):
    """The form of a test load. It opens with the values of `last`."""

    def __init__(self, last: TestLoad) -> None:
        super().__init__("Test load", load_fields(last), "Start")

    def notes(self, values: Values) -> Mapping[str, Note]:
        notes = load_notes(values)
        if not any(note.wrong for note in notes.values()):
            load = read_load(values)
            span = "all at once" if load.pattern is Pattern.BURST else f"over about {duration(load.span_s)}"
            notes["jobs"] = Note(f"test jobs, {span}")
        return notes

    def read(self, values: Values) -> TestLoad:
        return read_load(values)


def plan_lines(plan: SweepPlan, calls: int) -> tuple[Line, ...]:
    """Return what a sweep will do, the most important first; with `calls` running, there is a warning."""
    runs, each_s = len(plan.counts) * plan.repeat, run_s(plan.load)
    repeat = f" × {plan.repeat}" if plan.repeat > 1 else ""
    rounds = f"{counted(len(plan.counts), 'idle count')}{repeat} × about {duration(each_s)}"
    it = "it" if calls == 1 else "them"
    warning = (
        f"▲ {counted(calls, 'call runs', 'calls run')} now: the first run waits for {it}, "
        f"at most {duration(SETTLE_WITHIN_S)}"
    )
    return (
        (
            Span(f"about {duration(runs * each_s)}", Tone.STRONG),
            Span(f": {rounds}, after an uncounted job"),
        ),
        *(((Span(warning, Tone.WARN),),) if calls else ()),
        (Span("each run sets numIdleProcesses and waits until no call is running", Tone.DIM),),
        (Span("other calls change the figures, and a reload ends the sweep", Tone.DIM),),
    )


class SweepForm(Follower, FieldForm[SweepRequest]):
    """The form of a sweep. It opens with the values of `last`. Its plan has no confirmed host yet."""

    def __init__(self, last: SweepRequest, calls: int = 0) -> None:
        """`calls` is the number of running calls, until a state is shown."""
        jobs, *rest = load_fields(last.plan.load)
        fields = (
            Field("counts", "Idle counts", counts_text(last.plan.counts)),
            Field("target", "Target", last.target.text or str(last.target)),
            jobs,
            Field("repeat", "Repeat", str(last.plan.repeat)),
            *rest,
        )
        super().__init__("Sweep", fields, "Start")
        self._calls = calls

    def show(self, state: AppState, now: float) -> None:
        if self._calls != (calls := len(state.live_jobs)) and self.is_mounted:
            self._calls = calls
            self.check()

    def notes(self, values: Values) -> Mapping[str, Note]:
        return {
            **load_notes(values),
            "counts": checked(
                parse_counts, values["counts"], COUNTS_EXPECTS, "counts to compare: 0-4 or 0,1,4"
            ),
            "target": checked(parse_target, values["target"], TARGET_EXPECTS, grammar.TARGET_EXPECTS),
            "repeat": checked(REPEAT.convert, values["repeat"], REPEAT.expects, "runs per count"),
        }

    def about(self, values: Values) -> tuple[Line, ...]:
        return plan_lines(self.read(values).plan, self._calls)

    def read(self, values: Values) -> SweepRequest:
        plan = SweepPlan(
            read_load(values), parse_counts(values["counts"]), _integer(REPEAT, values["repeat"])
        )
        return SweepRequest(plan, parse_target(values["target"]))
