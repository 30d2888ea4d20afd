"""CPU load from counters that a test writes."""

from pathlib import Path

import pytest

from agent_tui.worker.load import (
    CgroupV1,
    CgroupV2,
    CpuCounter,
    CpuLoad,
    WholeMachine,
    choose_counter,
    cpus_from_environment,
)


class HandClock:
    now = 0.0

    def monotonic(self) -> float:
        return self.now

    def boottime(self) -> float:
        return self.monotonic()

    def time(self) -> float:
        return self.now


class HandCounter:
    used = 0.0

    def __init__(self, cpus: float) -> None:
        self._cpus = cpus

    def used_s(self) -> float:
        return self.used

    def cpus(self) -> float:
        return self._cpus


def write(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)


V2 = {"cpu.stat": "usage_usec 2500000\nuser_usec 1\n"}
V1 = {"cpuacct/cpuacct.usage": "2500000000\n"}


@pytest.mark.parametrize(
    ("files", "kind", "cpus"),
    [
        (V2, CgroupV2, None),
        (V2 | {"cpu.max": "max 100000\n"}, CgroupV2, None),
        (V2 | {"cpu.max": "50000 100000\n"}, CgroupV2, 0.5),
        (V2 | {"cpu.max": "99900000 100000\n"}, CgroupV2, None),
        (V2 | {"cpu.max": "rubbish"}, CgroupV2, None),
        (V1, CgroupV1, None),
        (V1 | {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, CgroupV1, None),
        (V1 | {"cpu/cpu.cfs_quota_us": "25000", "cpu/cpu.cfs_period_us": "100000"}, CgroupV1, 0.25),
        ({"cpu.stat": "no usage here\n"}, WholeMachine, None),
        ({}, WholeMachine, None),
    ],
)
def test_the_container_is_found_with_its_limit(
    tmp_path: Path, files: dict[str, str], kind: type[CpuCounter], cpus: float | None
) -> None:
    write(tmp_path, files)
    counter = choose_counter(tmp_path)
    assert type(counter) is kind
    assert counter.cpus() == (counter.host_cpus if cpus is None else cpus)  # type: ignore[attr-defined]
    if kind is not WholeMachine:
        assert counter.used_s() == 2.5


def test_this_machines_counter_rises() -> None:
    counter = choose_counter()
    before = counter.used_s()
    sum(range(3_000_000))
    assert counter.used_s() >= before
    assert WholeMachine(2.0).used_s() > 0


@pytest.mark.parametrize(
    ("value", "cpus"),
    [("2.5", 2.5), ("0", None), ("-1", None), ("nan", None), ("inf", None), ("two", None), (None, None)],
)
def test_num_cpus(value: str | None, cpus: float | None) -> None:
    assert cpus_from_environment({} if value is None else {"NUM_CPUS": value}) == cpus


async def test_the_load_is_the_share_used_since_the_last_call() -> None:
    clock, counter = HandClock(), HandCounter(cpus=0.5)
    load = CpuLoad(counter, clock, environ={})
    clock.now, counter.used = 2.0, 0.25
    assert await load() == 0.25
    clock.now = 2.05
    assert await load() == 0.25  # too soon to measure
    clock.now = 4.0
    assert await load() == 0.0
    clock.now, counter.used = 6.0, 2.0
    assert await load() == 1.0


async def test_num_cpus_overrides_the_counters_own_number() -> None:
    clock, counter = HandClock(), HandCounter(cpus=8.0)
    load = CpuLoad(counter, clock, environ={"NUM_CPUS": "2"})
    clock.now, counter.used = 1.0, 1.0
    assert await load() == 0.5


async def test_a_torn_reading_is_ignored() -> None:
    clock, counter = HandClock(), HandCounter(cpus=1.0)
    load = CpuLoad(counter, clock, environ={})
    clock.now, counter.used = 1.0, 0.5
    assert await load() == 0.5
    for torn in (0.1, 1e9):
        clock.now, counter.used = clock.now + 1.0, torn
        assert await load() == 0.5
