"""Special files, and files that cannot be parsed, neither end nor block a running agent."""

import os
import signal
from pathlib import Path

import pytest

from tests.cli.support import agent_tui

pytestmark = [pytest.mark.real, pytest.mark.timeout(120)]

AGENT = """
import contextlib
for name in ("helper", "fifo", "zero"):
    with contextlib.suppress(ImportError):
        __import__(name)
import deep
def lazily():
    import fifo, zero
async def entry(ctx): ...
"""


async def test_an_agent_among_special_files(tmp_path: Path) -> None:
    (tmp_path / "agent.py").write_text(AGENT)
    (tmp_path / "deep.py").write_text("x = 1\n")
    (tmp_path / "x").mkdir()
    for name in (".env", "fifo.py", "pyproject.toml"):
        os.mkfifo(tmp_path / name)
    for name in (".env.example", "zero.py"):
        (tmp_path / name).symlink_to("/dev/zero")
    async with agent_tui("./x/../agent.py", "--local", "--json", "--port", 0, cwd=tmp_path) as run:
        assert (await run.until("starting"))["agent"] == str(tmp_path / "agent.py")
        await run.until("generation_ready")
        assert any("cannot read .env: it sent nothing" in each["text"] for each in run.all("log"))
        (tmp_path / ".env").unlink()
        await run.until("generation_ready", 2)

        (tmp_path / "deep.py").write_text(f"x = {' + '.join(['1'] * 5000)}\n")
        await run.until("generation_failed")
        (tmp_path / "deep.py").unlink()
        os.mkfifo(tmp_path / "deep.py")
        await run.until("generation_failed", 2)
        (tmp_path / "agent.py").unlink()
        os.mkfifo(tmp_path / "agent.py")
        failed = await run.until("generation_failed", 3)
        assert failed["error"].endswith("agent.py is not a regular file")
        for name in ("deep.py", "agent.py"):
            (tmp_path / name).unlink()
        (tmp_path / "deep.py").write_text("x = 2\n")
        (tmp_path / "agent.py").write_text(AGENT + "# again\n")
        await run.until("generation_ready", 3)

        run.process.send_signal(signal.SIGTERM)
        assert await run.end() == 128 + signal.SIGTERM
        assert "Traceback" not in run.stderr
