"""`agent-tui tune` as users run it: errors, output, saved files, and exit codes."""

import asyncio
import json
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from agent_tui.cli.tune import tune
from agent_tui.model.errors import UserError
from tests.cli.support import ENVIRON, EXAMPLES, ROOT, finished
from tests.limits import PATIENCE_S

AGENT = EXAMPLES / "tuning_prewarm_300ms.py"
BURST = ("--local", "--pattern", "burst", "--jobs", 3, "--idle", "0,3", "--job-length", "100ms", "--port", 0)


@pytest.mark.parametrize(
    ("flags", "line"),
    [
        (["--rate", "fast"], "--rate: 'fast' is not a rate; give a rate such as 2/s"),
        (["--target", "p95"], "--target: 'p95' is not a target; give p95<50ms, 95% under 50ms, or warm>99%"),
        (["--idle", "4-1"], "--idle: '4-1' is a range whose end is below its start"),
        (["--jobs", "0"], "--jobs: '0' is below 1"),
        (["--repeat", "x"], "--repeat: 'x' is not a number"),
        (["--seconds", "0"], "--seconds: '0' is below 1"),
        (["--seed", "-1"], "--seed: '-1' is below 0"),
        (["--job-length", "soon"], "--job-length: 'soon' is not a duration"),
        (
            ["--pattern", "wild"],
            "--pattern: 'wild' is not a valid choice; give one of poisson, steady, burst, ramp",
        ),
        (["--pattern", "ramp"], "--rate: '1/s' does not fit --pattern ramp"),
        (["--rate", "1-5/s", "--pattern", "steady"], "--rate: '1-5/s' does not fit --pattern steady"),
        (["--num-idle-processes", "x"], "numIdleProcesses"),
    ],
)
def test_bad_usage_gives_one_line_with_flag_and_value(flags: list[str], line: str) -> None:
    with pytest.raises(UserError) as refused:
        CliRunner().invoke(tune, [str(AGENT), *flags], standalone_mode=False, catch_exceptions=False)
    assert line in str(refused.value)
    assert "\n" not in str(refused.value)
    assert refused.value.exit_code == 2


@pytest.mark.real
async def test_the_last_line_is_the_result_and_it_is_saved(tmp_path: Path) -> None:
    environ = {"XDG_STATE_HOME": str(tmp_path)}
    code, run = await finished("tune", AGENT, *BURST, "--target", "warm>=100%", "--json", environ=environ)
    assert code == 0, run.stderr
    assert run.names[-2:] == ["stopped", "tune_result"]
    result = run.events[-1]
    assert [event["seq"] for event in run.events] == list(range(1, len(run.events) + 1))
    cold, warm = result["rows"]
    assert {
        "num_idle_processes",
        "jobs",
        "p50_ms",
        "p95_ms",
        "p99_ms",
        "warm_hit_rate",
        "uss_mb",
    } <= cold.keys()
    assert (cold["num_idle_processes"], cold["jobs"], cold["warm_hit_rate"]) == (0, 3, 0)
    assert (warm["num_idle_processes"], warm["jobs"], warm["warm_hit_rate"]) == (3, 3, 1)
    assert cold["p50_ms"] > 250
    assert warm["idle_uss_mb"] == pytest.approx(3 * warm["uss_mb"], abs=0.01)
    advice = result["advice"]
    assert (advice["num_idle_processes"], advice["target"], advice["measured"]) == (3, "warm>=100%", 1)
    low, high = advice["confidence"]
    assert low <= advice["predicted"] <= high
    kept = json.loads(Path(result["files"][0]).read_text())
    assert kept["agent"] == str(AGENT)
    assert len(kept["runs"]) == 2


@pytest.mark.real
async def test_without_a_sufficient_count_it_exits_with_1_and_a_full_disk_gives_one_line(
    tmp_path: Path,
) -> None:
    (tmp_path / "file").touch()
    environ = {"XDG_STATE_HOME": str(tmp_path / "file")}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "agent_tui", "tune", str(AGENT), *map(str, BURST), "--target", "p95<1ms"),
        cwd=ROOT,
        env={**ENVIRON, **environ},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(PATIENCE_S):
        out, _ = await process.communicate()
    lines = out.decode().splitlines()
    assert process.returncode == 1
    assert any(line.startswith("no measured count meets p95<1ms: the best is") for line in lines)
    assert lines[-1].startswith("not saved: ")
    heading = next(number for number, line in enumerate(lines) if line.split()[:2] == ["idle", "jobs"])
    assert [line.split()[:3] for line in lines[heading + 1 : heading + 3]] == [
        ["0", "3", "0"],
        ["3", "3", "0"],
    ]


@pytest.mark.real
async def test_a_file_that_does_not_load_and_a_remote_server_are_reported_before_any_dispatch(
    tmp_path: Path,
) -> None:
    broken = tmp_path / "agent.py"
    broken.write_text("def entry(ctx:\n")
    code, run = await finished("tune", broken, "--local", "--json", "--port", 0)
    assert code in (1, 2)
    assert "tune_result" not in run.names
    remote = {
        "LIVEKIT_URL": "wss://nowhere.example.com",
        "LIVEKIT_API_KEY": "key",
        "LIVEKIT_API_SECRET": "a secret that is long enough",
    }
    code, run = await finished("tune", AGENT, "--json", "--port", 0, environ=remote)
    assert code == 2
    assert "--allow-remote nowhere.example.com" in run.stderr
    assert "dispatched" not in run.names
