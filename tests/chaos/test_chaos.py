"""Cause AGENT_TUI_CHAOS_FAULTS faults. The same AGENT_TUI_CHAOS_SEED gives the same faults.

By default each kind happens once. AGENT_TUI_CHAOS_ONLY names the kinds to choose from;
AGENT_TUI_CHAOS_AGENT=js runs an agents-js file.
"""

import asyncio
import contextlib
import os
import signal
import sys
import time
import tomllib
from pathlib import Path

import psutil
import pytest

from tests.chaos import invariants
from tests.chaos.agent_source import JAVASCRIPT, SOURCE
from tests.chaos.faults import FAULTS, SEED, chosen
from tests.chaos.faults_files import put
from tests.chaos.rig import RECOVERY_S, Chaos, chaos, memory_mb, peak_mb
from tests.cli.support import marked
from tests.nodes import needs_node

SLOWEST_S = 20 if SOURCE is JAVASCRIPT else 6
"""Most seconds that a fault takes on average: Node starts slowly on a busy machine."""

pytestmark = [pytest.mark.real, pytest.mark.timeout(180 + SLOWEST_S * FAULTS)]
if SOURCE is JAVASCRIPT:
    pytestmark.append(needs_node)

PAUSE_S = 0.1
KEPT_MB = 30
"""MB that a save of a line of 4 MB may leave behind: agent-tui keeps the file to compare it, and the C
library keeps some of the memory that each thread has freed.
"""

OF_A_PROCESS = 5
"""Descriptors per process: its channel, its side channel, stdout, stderr, and a pidfd."""

MOST_MB = 200
"""MB of agent-tui's process, at any time."""


async def test_invariants_hold(tmp_path: Path) -> None:
    async with chaos(tmp_path, SEED) as under:
        process = psutil.Process(under.pid)
        await asyncio.sleep(1)
        await under.healthy()  # the first request imports the web server, which is no growth
        descriptors, children, early = process.num_fds(), len(process.children(recursive=True)), 0.0
        for number, kind in enumerate(chosen(under.rng)):
            began = time.monotonic()
            try:
                async with asyncio.timeout(2 * RECOVERY_S):
                    await kind.act(under)
                    await asyncio.sleep(PAUSE_S)
                    await kind.heal(under)
                under.check_alive()
            except (AssertionError, TimeoutError, OSError) as error:
                raise AssertionError(f"fault {number} of seed {SEED}, {kind.name}: {error}") from error
            under.done[kind.name] += 1
            sys.stderr.write(
                f"{number} {kind.name} {time.monotonic() - began:.1f} s {memory_mb(under.pid):.1f} MB\n"
            )
            if number == FAULTS // 10:
                early = memory_mb(under.pid)
        await under.stop(under.tasks[-1:])
        await invariants.at_rest(under)
        await invariants.the_server_has_the_worker_that_is_reported(under)
        await invariants.at_rest(under)
        late, most = memory_mb(under.pid), peak_mb(under.pid)
        sys.stdout.write(
            f"\nseed {SEED}, {FAULTS} faults: {dict(sorted(under.done.items()))}\n"
            f"{invariants.summary(under)}, memory {early:.0f} → {late:.0f} MB, at most {most:.0f} MB, "
            f"descriptors {descriptors} → {process.num_fds()}, "
            f"processes {children} → {len(process.children(recursive=True))}\n"
        )
        assert len(invariants.accepted(under)) > FAULTS / 4
        invariants.every_offer_has_an_answer(under)
        invariants.every_accepted_job_has_one_end(under)
        invariants.ends_are_those_that_jobs_reported(under)
        invariants.no_job_saw_two_versions(under)
        invariants.no_internal_errors(under)
        invariants.what_is_reported_is_what_runs(under)
        config = under.folder / "agent-tui.toml"
        tomllib.loads(config.read_text() if config.exists() else "")
        assert list(under.folder.glob(".agent-tui.toml*")) == []
        more = max(
            len(process.children(recursive=True)) - children, 0
        )  # such as blanks that start after saves
        assert process.num_fds() <= descriptors + 8 + OF_A_PROCESS * more
        assert late < early * 1.25 + KEPT_MB
        assert most < MOST_MB
        await ends_at_a_signal(under)
    assert list((tmp_path / "tmp").iterdir()) == []


async def ends_at_a_signal(under: Chaos) -> None:
    """Check that SIGTERM ends agent-tui even while reading a file hangs."""
    for name in (".env", SOURCE.parts[1], "agent-tui.toml", SOURCE.agent):
        put(under.folder / name, os.mkfifo)
    await asyncio.sleep(0.5)
    await under.stop(under.tasks)
    under.run.process.send_signal(signal.SIGTERM)
    assert await under.run.end() == 143
    assert under.run.stderr == ""


async def test_nothing_survives_a_killed_host(tmp_path: Path) -> None:
    """Check jobs that hold the GIL, spin, ignore signals, or are stopped, and all other processes."""
    async with chaos(tmp_path, SEED) as under:
        rooms = [await under.dispatch(what) for what in ("gil", "spin", "stubborn", "stop")]
        await under.until(lambda: all((room, "start") in under.said for room in rooms), "all jobs start")
        await under.stop(under.tasks)
        under.run.process.kill()
        await under.run.process.wait()
        last = time.monotonic() + 20
        while (left := marked(under.run.mark)) and time.monotonic() < last:  # noqa: ASYNC110
            await asyncio.sleep(0.1)
        rooms_by_pid = {event["pid"]: event["room"] for event in under.events["job_started"]}
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        assert [rooms_by_pid.get(pid, pid) for pid in left] == []
