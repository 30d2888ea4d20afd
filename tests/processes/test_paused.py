"""Whether a real process is held, according to the kernel."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent_tui.processes.kernel import is_paused
from tests.fakes.scripted_child import until

pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's /proc"),
]


@pytest.fixture
def sleeper() -> Iterator[int]:
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        yield process.pid
    finally:
        process.kill()
        process.wait()


async def test_a_stopped_process_is_held_and_a_continued_one_is_not(sleeper: int) -> None:
    assert not is_paused(sleeper)
    os.kill(sleeper, signal.SIGSTOP)
    await until(lambda: is_paused(sleeper))
    os.kill(sleeper, signal.SIGCONT)
    await until(lambda: not is_paused(sleeper))


def test_a_pid_without_a_process_is_not_held() -> None:
    assert not is_paused(2**22 + 1)
