"""Options edited while the worker runs: their effects from outside, all or nothing, without a lost job."""

import asyncio
import os
from pathlib import Path

import pytest

from agent_tui.options.declare import BY_NAME, OPTIONS, Effect
from tests.options.outside.cases import CASES, Case, get
from tests.options.outside.recorder import recording
from tests.options.outside.rig import PORT, Rig, free_port, rigged
from tests.sdks import REASON, sdk_pythons

pytestmark = pytest.mark.real

BY_OPTION = {case.option: case for case in CASES}
PLAIN = Case("agentName", "", "", get)  # type: ignore[arg-type]
"""A run without anything special."""

OTHERWISE = {"maxRetry", "wsURL", "drainTimeout"}
EDITABLE = [o.name for o in OPTIONS if o.effect is not Effect.RESTART and o.name not in OTHERWISE]


ALONE = [
    "initializeProcessTimeout",
    "shutdownProcessTimeout",
    "sessionEndTimeout",
    "jobMemoryLimitMB",
    "onReload",
    "pin",
    "logLevel",
]
"""Those whose effect ends a process, or needs a job that others would refuse."""


@pytest.mark.parametrize("name", ALONE)
async def test_an_edit_has_its_effect(name: str, tmp_path: Path) -> None:
    case, pythons = BY_OPTION[name], sdk_pythons()
    if case.sdk and not pythons:
        pytest.skip(REASON)
    async with rigged(case, "edited", tmp_path, pythons[-1] if pythons else None) as rig:
        await rig.run.until("generation_ready")
        await edited(rig, case)


async def test_edits_one_after_the_other_have_their_effects(tmp_path: Path) -> None:
    names = [name for name in EDITABLE if name not in ALONE]
    # Other edits end idle processes; with a worker token, the load options are ignored.
    names.sort(key=lambda name: (name != "numIdleProcesses", name == "workerToken"))
    assert {*names, *ALONE} == {*EDITABLE}
    async with rigged(PLAIN, "edited", tmp_path, None) as rig:
        await rig.run.until("generation_ready")
        for name in names:
            case = BY_OPTION[name]
            assert (case.before, case.environ) == ((), {})
            await edited(rig, case)


async def edited(rig: Rig, case: Case) -> None:
    """Edit the case's option, and check its effect."""
    await rig.recorder.registered()
    if BY_NAME[case.option].effect.text == "re-registers":
        rig.recorder.seen.clear()
    value = str(rig.port) if case.value == PORT else case.value
    try:
        assert (await rig.command(set={case.option: value, **case.edits})).startswith("command done")
        await case.check(rig)
    except Exception as error:
        error.add_note(f"option {case.option}")
        raise


async def test_another_server_takes_over(tmp_path: Path) -> None:
    async with recording() as other, rigged(PLAIN, "edited", tmp_path, None) as rig:
        await rig.recorder.registered()
        await rig.run.until("registered")  # before, it would not wait for the answer to an edit
        assert "done" in await rig.command(set={"wsURL": other.url})
        await other.registered()
        assert (await rig.run.until("registered", count=2))["url"] == other.url


async def test_without_retries_a_lost_server_ends_the_run(tmp_path: Path) -> None:
    async with rigged(PLAIN, "edited", tmp_path, None) as rig:
        worker = await rig.recorder.registered()
        await rig.command(set={"maxRetry": "0"})
        rig.recorder.refusing = True
        await worker.connection.close()
        assert await rig.run.end() == 3


async def test_a_server_that_does_not_exist_changes_nothing(tmp_path: Path) -> None:
    async with rigged(PLAIN, "edited", tmp_path, None) as rig:
        worker = await rig.recorder.registered()
        await rig.run.until("registered")  # before, it would not wait for the answer to an edit
        answer = await rig.command(set={"wsURL": f"ws://127.0.0.1:{free_port()}", "numIdleProcesses": "3"})
        assert "refused" in answer
        assert "the old values are kept" in answer
        assert rig.run.all("options_changed") == []
        assert await rig.recorder.offer(worker, "AJ_1")
        assert "agent_tui_idle_processes_target 1.0" in await get(rig, "/metrics")


BAD_EDITS: list[tuple[dict[str, str], str]] = [
    ({"port": "70000", "numIdleProcesses": "3"}, "port: '70000' (edited) is above 65535"),
    ({"loadFunc": "nobody"}, "loadFunc: 'nobody' (edited) is not a function of the agent's file"),
    ({"color": "red"}, "there is no option color"),
    ({"deployment": "a" * 65}, "is longer than 64 characters"),
]


async def test_a_bad_edit_changes_nothing(tmp_path: Path) -> None:
    async with rigged(PLAIN, "edited", tmp_path, None) as rig:
        await rig.run.until("generation_ready")
        for edit, says in BAD_EDITS:
            answer = await rig.command(set=edit)
            assert answer.startswith("command refused")
            assert says in answer
            assert rig.run.all("options_changed") == []


async def test_edits_are_undone_and_saved(tmp_path: Path) -> None:
    async with rigged(PLAIN, "edited", tmp_path, None) as rig:
        await rig.run.until("generation_ready")
        await rig.command(set={"numIdleProcesses": "2", "logLevel": "debug"})
        answer = await rig.command(set={"numIdleProcesses": "3", "production": "true"})
        assert "production: save to apply at the next start" in answer
        await rig.command(set={"drainTimeout": "5s"})
        assert "drainTimeout = 3600000" in await rig.command(undo=True)
        assert "numIdleProcesses = 2" in await rig.command(undo=True)
        assert "saved to" in await rig.command(save=False)
        text = (tmp_path / "agent-tui.toml").read_text()
        assert text == 'numIdleProcesses = 2\nlogLevel = "debug"\n'
        assert "there is no edit to undo" in await rig.command(undo=True)
        changes = [
            {name: value for name, value in event.items() if name in BY_NAME}
            for event in rig.run.all("options_changed")
        ]
        assert {"numIdleProcesses": [1, 2], "logLevel": ["info", "debug"]} in changes


CHANGES = int(os.environ.get("AGENT_TUI_CHANGES", "10"))
"""Of each option under load."""

LIVE = {
    "numIdleProcesses": ("0", "3"),
    "loadThreshold": ("0.9", "inf"),
    "initializeProcessTimeout": ("9s", "10s"),
    "shutdownProcessTimeout": ("9s", "10s"),
    "drainTimeout": ("1m", "2m"),
    "jobMemoryWarnMB": ("500", "0"),
    "jobMemoryLimitMB": ("900", "0"),
    "onReload": ("keep", "swap"),
    "pin": ("true", "false"),
    "logLevel": ("debug", "info"),
    "maxRetry": ("3", "5"),
    "host": ("127.0.0.2", "127.0.0.1"),
    "port": ("0", PORT),
}


@pytest.mark.timeout(240)
async def test_many_changes_of_each_option_during_dispatches_lose_no_job(tmp_path: Path) -> None:
    async with rigged(PLAIN, "edited", tmp_path, None) as rig:
        await rig.run.until("generation_ready")
        worker = await rig.recorder.registered()
        (tmp_path / "short").touch()
        changing, jobs = True, 0

        async def load() -> None:
            nonlocal jobs
            while changing:
                assert await rig.recorder.offer(worker, f"AJ_{jobs}")
                jobs += 1

        loading = asyncio.create_task(load())
        for name, values in LIVE.items():
            for number in range(CHANGES):
                value = str(rig.port) if values[number % 2] == PORT else values[number % 2]
                assert "command done" in await rig.command(set={name: value})
        changing = False
        await loading
        await rig.run.until("job_ended", count=jobs)
        assert {e["status"] for e in rig.run.all("job_ended")} == {"success"}
        assert rig.run.all("job_lost") == []


@pytest.mark.parametrize(("drain", "status"), [(True, "success"), (False, "terminated")])
async def test_a_stop_with_drain_lets_jobs_finish(drain: bool, status: str, tmp_path: Path) -> None:
    async with rigged(PLAIN, "edited", tmp_path, None) as rig:
        await rig.run.until("generation_ready")
        (tmp_path / "second").touch()
        worker = await rig.recorder.registered()
        assert await rig.recorder.offer(worker, "AJ_1")
        await rig.run.until("job_started")
        await rig.tell(stop=drain)
        assert (await rig.run.until("job_ended"))["status"] == status
        assert await rig.run.end() == 0
