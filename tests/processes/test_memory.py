"""The memory sampler with memory and time from the test, and real figures against the kernel's."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, cast

import pytest

from agent_tui.model.child import MemoryMeasure, ProcessKind
from agent_tui.model.events import Event, MemoryWarned, ProcessMeasured
from agent_tui.processes.kernel import descendants
from agent_tui.processes.memory import FULL_EVERY, Memory, MemorySampler, read_memory
from tests.fakes.clock import FakeClock

if TYPE_CHECKING:
    from agent_tui.processes.process import SupervisedProcess


@dataclass
class _Process:
    id: str = "p1"
    pid: int | None = 42
    generation: int = 1
    kind: ProcessKind = ProcessKind.JOB
    memory_measure: MemoryMeasure = MemoryMeasure.RSS
    loading_at: float | None = 0.0
    had_job: bool = False
    job_id: str | None = None


@dataclass
class Bench:
    """A sampler over one process whose memory the test sets."""

    measure: MemoryMeasure = MemoryMeasure.RSS
    wanted: MemoryMeasure | None = None
    warn: float = 1000.0
    limit: float = 0.0
    memory: Memory | None = field(default_factory=lambda: Memory(100.0, 50.0, 60.0))
    clock: FakeClock = field(default_factory=FakeClock)
    events: list[Event] = field(default_factory=list)
    started: list[int] = field(default_factory=list)
    ended: list[tuple[str, str]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.process = _Process(memory_measure=self.measure)
        self.full_reads = 0
        self.sampler = MemorySampler(
            processes=lambda: [cast("SupervisedProcess", self.process)],
            warn_mb=self.warn,
            limit_mb=self.limit,
            over_limit=lambda process, why: self.ended.append((process.id, why)),
            measure=self.wanted,
            clock=self.clock,
            emit=self.events.append,
            read=self.read,
            below=lambda roots: dict.fromkeys(roots, self.started),
        )

    def read(self, pid: int, *, full: bool) -> Memory | None:
        if full:
            self.full_reads += 1
            return self.memory
        return None if self.memory is None else Memory(self.memory.rss, cpu_s=self.memory.cpu_s)

    def sample(self, rss: float, uss: float = 1.0, pss: float = 1.0) -> list[MemoryWarned]:
        self.memory = Memory(rss, uss, pss)
        before = len(self.events)
        self.sampler.sample()
        return [event for event in self.events[before:] if isinstance(event, MemoryWarned)]


def test_the_costly_figures_are_read_only_near_the_warning() -> None:
    bench = Bench()
    bench.sample(700)
    assert bench.full_reads == 1  # at once, so that totals use one measure
    for _ in range(FULL_EVERY):
        bench.sample(700)
    assert bench.full_reads == 2  # its turn, once
    for _ in range(FULL_EVERY):
        bench.sample(801)
    assert bench.full_reads == 2 + FULL_EVERY


def test_a_warning_has_the_growth_since_before_the_first_job() -> None:
    bench = Bench()
    bench.sample(200)
    bench.process.had_job, bench.process.job_id = True, "AJ_1"
    bench.sample(600)
    (warning,) = bench.sample(1001)
    assert (warning.baseline_mb, warning.rss_mb, warning.job_id, warning.warn_mb) == (200, 1001, "AJ_1", 1000)


def test_exactly_at_the_level_is_no_warning_and_zero_is_off() -> None:
    bench = Bench()
    assert bench.sample(1000) == []
    bench.sampler.set_limits(warn_mb=0, limit_mb=0)
    assert bench.sample(5000) == []


def test_a_process_over_the_limit_is_reported_and_ended_once() -> None:
    bench = Bench(limit=1500)
    assert not bench.sample(1500)[0].over_limit
    (breach,) = bench.sample(1501)
    assert (breach.over_limit, breach.limit_mb) == (True, 1500)
    assert bench.ended == [(bench.process.id, "memory limit: 1501 MB used (rss), 1500 MB allowed")]
    assert bench.sample(1700) == []
    assert len(bench.ended) == 1


@pytest.mark.parametrize(("wanted", "used", "baseline"), [(None, 1200, 200), (MemoryMeasure.PSS, 1100, 110)])
def test_the_runtimes_measure_counts_unless_another_is_set(
    wanted: MemoryMeasure | None, used: float, baseline: float
) -> None:
    bench = Bench(wanted=wanted)
    bench.sample(200, uss=90, pss=110)
    while bench.full_reads == 0:
        bench.sample(200, uss=90, pss=110)
    bench.process.had_job = True
    (warning,) = bench.sample(1200, uss=1050, pss=1100)
    assert (warning.measure, warning.used_mb) == (wanted or MemoryMeasure.RSS, used)
    assert (warning.baseline_mb, warning.rss_mb) == (baseline, 1200)


def test_child_processes_count_and_are_reported_separately() -> None:
    bench = Bench(limit=500, started=[101, 102])
    (breach,) = bench.sample(200)
    assert (breach.rss_mb, breach.children_mb, breach.over_limit) == (200, 400, True)
    measured = next(event for event in bench.events if isinstance(event, ProcessMeasured))
    assert measured.children_mb == 400


def test_descendants_are_found_at_any_depth() -> None:
    sleep = "import time; time.sleep(60)"
    script = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {sleep!r}])"
    process = subprocess.Popen([sys.executable, "-c", script], start_new_session=True)
    try:
        until = time.monotonic() + 10
        while not descendants([process.pid])[process.pid] and time.monotonic() < until:
            time.sleep(0.02)
        assert len(descendants([process.pid])[process.pid]) == 1
        assert process.pid in descendants([os.getpid()])[os.getpid()]
        # A job that was forked from a base is a root itself: the base does not count its memory.
        both = descendants([os.getpid(), process.pid])
        assert len(both[process.pid]) == 1
        assert not {process.pid, *both[process.pid]} & set(both[os.getpid()])
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    assert descendants([process.pid]) == {process.pid: []}


def test_without_free_descriptors_the_last_known_descendants_count() -> None:
    bench = Bench()
    bench.started = [43]
    bench.sample(100)

    def none_left(roots: object) -> dict[int, list[int]]:
        raise OSError(24, "Too many open files", "/proc")

    bench.sampler._below = none_left
    for _ in range(FULL_EVERY):
        bench.sample(300)
    measured = [event for event in bench.events if isinstance(event, ProcessMeasured)][-1]
    assert (measured.rss_mb, measured.children_mb) == (300, 300)


def test_a_limit_below_the_warning_level_needs_no_warning_first() -> None:
    bench = Bench(limit=300)
    assert [each.over_limit for each in bench.sample(301)] == [True]
    assert bench.full_reads == 1


def test_a_warning_comes_again_after_the_cooldown_or_more_growth() -> None:
    bench = Bench()
    assert bench.sample(1001)
    bench.clock.advance(60)
    assert not bench.sample(1040)
    assert bench.sample(1051)
    bench.clock.advance(119)
    assert not bench.sample(1060)
    bench.clock.advance(1)
    assert bench.sample(1060)


@pytest.mark.parametrize(("measure", "warns"), [("rss", True), ("pss", False), ("uss", False)])
def test_the_measure_of_the_runtime_decides(measure: str, warns: bool) -> None:
    bench = Bench(MemoryMeasure(measure))
    assert bool(bench.sample(1200, uss=300, pss=400)) is warns


def test_an_ended_process_is_skipped() -> None:
    bench = Bench(memory=None)
    bench.sampler.sample()
    assert bench.events == []


@pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="needs Linux's /proc")
def test_real_figures_agree_with_each_other() -> None:
    memory = read_memory(os.getpid(), full=True)
    assert memory is not None
    assert memory.uss is not None
    assert memory.pss is not None
    assert 1 < memory.uss <= memory.pss <= memory.rss * 1.05


def test_a_pid_without_a_process_has_no_memory() -> None:
    assert read_memory(2**22 + 1, full=True) is None


def test_measured_events_carry_what_was_read() -> None:
    bench = Bench()
    bench.sample(900, 10, 20)
    assert bench.events == [ProcessMeasured("p1", 900, 10, 20, used_mb=900)]


def test_cpu_is_the_share_of_a_core_since_the_last_sample() -> None:
    bench = Bench()
    told = []
    for used in (3.0, 3.5, 3.5, 3.502):
        bench.memory = Memory(100.0, 50.0, 60.0, cpu_s=used)
        bench.sampler.sample()
        bench.clock.advance(1.0)
        told.append(bench.events[-1])
    assert [event.cpu_pct for event in told if isinstance(event, ProcessMeasured)] == [None, 50.0, 0.0, 0.0]
    assert len(bench.events) == 3  # the last change cannot be seen


def test_cpu_time_agrees_with_the_kernels_clock() -> None:
    memory = read_memory(os.getpid(), full=False)
    assert memory is not None
    assert memory.cpu_s is not None
    assert memory.cpu_s == pytest.approx(time.process_time(), abs=0.05)
    assert memory.rss == pytest.approx(
        int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 2**20, rel=0.02
    )


def test_a_request_reads_all_processes_in_full() -> None:
    bench = Bench(started=[101])
    bench.sample(900, 10, 20)
    before = bench.full_reads
    bench.events.clear()
    assert bench.sampler.measure_all() == 1
    assert bench.full_reads == before + 1
    (event,) = bench.events
    assert isinstance(event, ProcessMeasured)
    assert (event.rss_mb, event.uss_mb, event.pss_mb, event.children_mb) == (900, 10, 20, 900)
    bench.memory = None
    assert bench.sampler.measure_all() == 0


def test_a_partial_sample_reports_the_last_full_measure() -> None:
    bench = Bench(measure=MemoryMeasure.USS)
    bench.sample(900, 10, 20)
    bench.sample(500, 11, 21)
    assert bench.events[1:] == [ProcessMeasured("p1", 500, None, None, used_mb=10)]


def test_a_process_with_a_waiting_job_is_not_read_in_full() -> None:
    bench = Bench(measure=MemoryMeasure.PSS)
    process = cast("SupervisedProcess", bench.process)
    bench.sampler.note_baseline(process, is_awaited=True)  # no process of its generation is known yet
    assert bench.full_reads == 1
    bench.process.id = "p2"
    bench.memory = Memory(110.0, 55.0, 66.0)
    bench.sampler.note_baseline(process, is_awaited=True)
    assert bench.full_reads == 1
    bench.process.id, bench.process.generation = "p3", 2
    bench.sampler.note_baseline(process, is_awaited=True)
    bench.sampler.note_baseline(process)
    assert bench.full_reads == 3
    measured = [event for event in bench.events if isinstance(event, ProcessMeasured)]
    assert [(each.rss_mb, each.pss_mb, each.used_mb) for each in measured[:3]] == [
        (100.0, 60.0, 60.0),
        (110.0, None, 60.0),  # values that were not read are not reported, but the earlier ones count
        (110.0, 66.0, 66.0),
    ]


def test_no_limit_counts_before_the_agents_file_is_loaded() -> None:
    bench = Bench(warn=50.0, limit=80.0)
    bench.process.loading_at = None
    bench.sampler.sample()
    assert bench.ended == []
    bench.process.loading_at = 1.0
    bench.sampler.sample()
    assert len(bench.ended) == 1


def test_a_process_that_is_not_reaped_yet_has_no_memory() -> None:
    child = subprocess.Popen([sys.executable, "-c", ""], stdout=subprocess.DEVNULL)
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert read_memory(child.pid, full=False) is None
    child.wait()
