"""Closed or redirected standard streams: the command starts, and the screen is on the terminal."""

import signal
import subprocess
import sys
import uuid
from pathlib import Path

import pytest

from tests.cli.support import ENVIRON, EXAMPLES, ROOT, left_at_most
from tests.cli.test_screen import ARGUMENTS, assert_clean, terminal
from tests.runtimes.support import poll

pytestmark = pytest.mark.real

CLOSED = ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"]
AGENT = str(EXAMPLES / "native_agent.py")


def start(redirect: str, *arguments: str, mark: str = "") -> subprocess.Popen[str]:
    return subprocess.Popen(
        ["sh", "-c", f'exec "$@" {redirect}', "sh", sys.executable, "-m", "agent_tui", *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env={**ENVIRON, "TEST_MARK": mark},
    )


RUNS: list[tuple[list[str], int]] = [
    (["options", AGENT], 0),
    (["doctor", AGENT, "--local"], 0),
    ([AGENT, "--local", "--port", "0", "--dispatch", "1", "--exit-when-idle", "--job-length", "100ms"], 0),
    (["tune", AGENT, "--local", "--port", "0", "--idle", "1", "--jobs", "1", "--job-length", "100ms"], 0),
    (["nosuch.py"], 2),
    (["server", "--port", "nonsense"], 2),
]


ALL = CLOSED[-1]


@pytest.mark.parametrize(
    ("arguments", "code", "redirect"),
    [(*run, ALL) for run in RUNS] + [(*RUNS[index], one) for index in (0, -2) for one in CLOSED[:-1]],
)
def test_commands_work_with_closed_streams(arguments: list[str], code: int, redirect: str) -> None:
    # A target that everything meets: how fast the machine is does not matter here.
    target = ["--target", "p95<60s"] if arguments[0] == "tune" else []
    with start(redirect, *arguments, *target) as process:
        out, err = process.communicate(timeout=60)
    assert (process.returncode, "Traceback" in err) == (code, False), err
    assert ("agent-tui: " in err) == (code != 0 and "2>&-" not in redirect)
    assert "agent-tui: " not in out  # errors are not printed to stdout


@pytest.mark.parametrize("command", ["", "options", "doctor"])
def test_a_deleted_working_folder_gives_one_line(command: str, tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    words = f"cd {gone} && rmdir {gone} && exec {sys.executable} -m agent_tui {command} {AGENT} --local"
    environ = {**ENVIRON, "PYTHONPATH": str(ROOT)}
    words = words.replace(" --local", "") if command == "options" else words
    done = subprocess.run(
        ["sh", "-c", words], capture_output=True, text=True, env=environ, timeout=60, check=False
    )
    assert (done.returncode, done.stderr.count("\n")) in ((2, 1), (1, 0))  # the doctor reports on stdout
    assert "no working directory (No such file or directory)" in done.stdout + done.stderr


def test_an_error_that_cannot_be_printed_has_its_exit_code() -> None:
    with start(">/dev/full 2>/dev/full", "options", AGENT) as process:
        process.communicate(timeout=60)
    assert process.returncode == 1


@pytest.mark.parametrize("redirect", [CLOSED[0], ALL])
async def test_no_socket_or_pipe_gets_the_descriptor_of_a_closed_stream(redirect: str) -> None:
    mark = f"agent-tui-test-{uuid.uuid4()}"
    with start(redirect, AGENT, "--local", "--port", "0", mark=mark) as process:
        descriptors = Path(f"/proc/{process.pid}/fd")
        await poll(lambda: any("socket:" in each for each in links(descriptors)))
        here = links(descriptors)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=20)
        assert process.returncode in (143, -signal.SIGTERM)  # the signals may not be handled yet
    for number, closed in enumerate(("<&-", ">&-", "2>&-")):
        assert closed not in redirect or here[number] == "/dev/null"
    await left_at_most(0, mark)


def links(descriptors: Path) -> list[str]:
    """Return the targets of the process's descriptors, from 0 on."""
    found = []
    for path in sorted(descriptors.iterdir(), key=lambda each: int(each.name)):
        try:
            found.append(str(path.readlink()))
        except FileNotFoundError:  # it was closed
            found.append("")
    return found


@pytest.mark.parametrize("redirect", ["2>{file}", "2>&-", "2>/dev/full"])
async def test_the_screen_is_on_the_terminal_when_stderr_is_redirected(tmp_path: Path, redirect: str) -> None:
    file = tmp_path / "stderr"
    with terminal(*ARGUMENTS, redirect=redirect.format(file=file)) as running:
        await poll(lambda: running.shows(b"AW_"))
        running.press(b"q")
        await poll(running.ended)
        assert running.process.returncode == 0
        assert b"?1049h" in running.output
        await assert_clean(running)
    assert not file.exists() or file.read_bytes() == b""


@pytest.mark.parametrize(
    ("redirect", "environ"),
    [("<&-", {}), ("</dev/null", {}), ("", {"TERM": "dumb"})],
)
async def test_without_a_usable_terminal_the_run_prints_lines(redirect: str, environ: dict[str, str]) -> None:
    with terminal(*ARGUMENTS, redirect=redirect, environ=environ) as running:
        await poll(lambda: running.shows(b"AW_"))
        running.process.send_signal(signal.SIGTERM)
        await poll(running.ended)
        assert running.process.returncode == 143
        assert b"\x1b" not in running.output


async def test_a_size_in_the_environment_is_ignored_and_a_locale_need_not_be_utf_8() -> None:
    environ = {"COLUMNS": "30", "LINES": "5"}
    environ |= {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    with terminal(*ARGUMENTS, environ=environ) as running:
        await poll(lambda: running.shows("● registered".encode()))
        await poll(lambda: running.shows(b"AW_"))  # a narrow header has no room for it
        running.press(b"q")
        await poll(running.ended)
        assert running.process.returncode == 0
        await assert_clean(running)
