"""A process on the host's side, below any dialect."""

import os
import sys
from pathlib import Path

import pytest

from agent_tui.model.child import ChildExit
from agent_tui.runtimes.spawn import Command, adopt, start, system_pidfd_open
from tests.runtimes.support import Sink

pytestmark = pytest.mark.real


def none_left(pid: int, flags: int = 0) -> int:
    raise OSError(24, "Too many open files")


@pytest.mark.parametrize("pidfd_open", [system_pidfd_open(), None, none_left])
async def test_its_end_is_noticed_with_and_without_a_pidfd(pidfd_open: object, tmp_path: Path) -> None:
    command = Command([sys.executable, "-c", "raise SystemExit(7)"], tmp_path, dict(os.environ))
    process = adopt(start(command), "p1", Sink(), pidfd_open)  # type: ignore[arg-type]
    assert await process.wait() == ChildExit(7)
    process.sock.close()
