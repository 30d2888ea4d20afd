"""Rolling back to an earlier generation, and diffs: real files, real processes."""

import asyncio
import json
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.cli.support import ROOT, save
from tests.cli.test_reload import METHODS, NATIVE, Session, agent, serving

pytestmark = pytest.mark.real

__all__ = ["agent"]  # the fixture

DRIVEN = ROOT / "tests/options/outside/driven.py"


class Driven:
    """A session whose engine takes commands on stdin."""

    def __init__(self, session: Session) -> None:
        self.session, self.run = session, session.run
        self._answered = 0

    async def command(self, **command: object) -> str:
        """Send a command, and return its result as text."""
        assert self.run.process.stdin is not None
        self.run.process.stdin.write(json.dumps(command).encode() + b"\n")
        await self.run.process.stdin.drain()
        self._answered += 1
        while len(found := [e["text"] for e in self._said]) < self._answered:
            await self.run.more()
        return str(found[self._answered - 1])

    @property
    def _said(self) -> list[dict[str, str]]:
        return [e for e in self.run.all("log") if e["text"].startswith("command ")]


@asynccontextmanager
async def driven(agent: Path, *more: str, environ: dict[str, str] | None = None) -> AsyncIterator[Driven]:
    async with serving(agent, *more, environ=environ, program=(DRIVEN,)) as session:
        yield Driven(session)


def version(name: str) -> str:
    return NATIVE.replace('"one"', f'"{name}"')


@pytest.mark.parametrize("method", METHODS)
async def test_a_roll_back_runs_the_old_code_until_the_next_save(agent: Path, method: str) -> None:
    async with driven(agent, "--start-method", method) as d:
        save(agent, version("two"))
        await d.session.ready(2)
        before = agent.stat()
        said = await d.command(roll_back=1)
        assert said == (
            "command done: rolled back to generation 1 (now generation 3); "
            "the next save or r loads the files on disk"
        )
        ready = await d.session.ready(3)
        assert (ready["cause"], ready["rolled_back_to"]) == ("roll back to 1", 1)
        assert (ready["changed"], ready["seconds"]) == ([str(agent)], None)
        assert (await d.session.job("back"))["generation"] == 3
        await d.session.printed("entered on one")
        assert (agent.read_text(), agent.stat().st_mtime_ns) == (version("two"), before.st_mtime_ns)
        await asyncio.sleep(1.5)  # every file is checked each second, and has not changed
        assert len(d.run.all("generation_ready")) == 3
        save(agent, version("four"))
        ready = await d.session.ready(4)
        assert (ready["cause"], ready["rolled_back_to"]) == (str(agent), None)
        assert (await d.session.job("forward"))["generation"] == 4
        await d.session.printed("entered on four")


async def test_saving_the_same_text_does_nothing_and_a_reload_loads_the_disk(agent: Path) -> None:
    async with driven(agent) as d:
        save(agent, version("two"))
        await d.session.ready(2)
        await d.command(roll_back=1)
        save(agent, version("two"))
        await asyncio.sleep(1.5)
        assert len(d.run.all("generation_ready")) == 3
        assert await d.command(reload=True) == "command done: loaded"
        ready = await d.session.ready(4)
        assert (ready["rolled_back_to"], ready["changed"]) == (None, [str(agent)])
        assert '-VERSION = "one"\n+VERSION = "two"' in await d.command(diff=[4])


async def test_a_broken_save_is_rolled_back_and_then_fixed(agent: Path) -> None:
    async with driven(agent) as d:
        save(agent, version("two"))
        await d.session.ready(2)
        save(agent, "broken =\n")
        await d.run.until("generation_failed")
        await d.command(roll_back=1)
        await d.session.ready(4)
        save(agent, "broken = =\n")
        await d.run.until("generation_failed", 2)
        assert (await d.session.job("still back"))["generation"] == 4
        save(agent, version("six"))
        await d.session.ready(6)


LAZY = """
async def entry(ctx):
    from tools import later
    print("lazily", later.VALUE, flush=True)
    later.fails()
"""


async def test_a_roll_back_imports_and_shows_the_saved_modules(tmp_path: Path) -> None:
    agent, tools = tmp_path / "agent.py", tmp_path / "tools"
    tools.mkdir()
    (tools / "__init__.py").touch()
    (tools / "later.py").write_text(
        "VALUE = 'old'\ndef fails():\n    raise RuntimeError('in the old line')\n"
    )
    agent.write_text(LAZY)
    async with driven(agent) as d:
        save(agent, "async def entry(ctx):\n    pass\n")
        shutil.rmtree(tools)
        await d.session.ready(2)
        await d.command(roll_back=1)
        job = await d.session.job("again")
        await d.session.printed("lazily old")
        end = await d.run.until("job_ended", job_id=job["job_id"])
        assert end["reason"] == "RuntimeError: in the old line"
        [crash] = [e["text"] for e in d.run.all("log") if "Traceback" in e["text"]]
        assert "raise RuntimeError('in the old line')" in crash


async def test_a_roll_back_that_does_not_load_changes_nothing(tmp_path: Path) -> None:
    agent, needed = tmp_path / "agent.py", tmp_path / "needed.txt"
    reads = f"open({str(needed)!r}).close()\n"
    needed.touch()
    agent.write_text(reads + NATIVE)
    async with driven(agent) as d:
        save(agent, version("two"))
        await d.session.ready(2)
        needed.unlink()
        said = await d.command(roll_back=1)
        assert said.startswith("command refused: generation 1 failed to load: FileNotFoundError")
        failed = await d.run.until("generation_failed")
        assert (failed["generation"], failed["cause"], failed["line"]) == (3, "roll back to 1", 1)
        assert (await d.session.job("on"))["generation"] == 2
        save(agent, version("four"))
        await d.session.ready(4)
        diff = await d.command(diff=[4])
        assert diff.startswith(
            "command done: generation 4 compared with 2: 1 file, +1 -1 lines\n--- agent.py\n"
        )


async def test_an_impossible_roll_back_gives_one_line(agent: Path) -> None:
    async with driven(agent) as d:
        save(agent, "broken =\n")
        await d.run.until("generation_failed")
        assert await d.command(roll_back=1) == "command refused: generation 1 is already current"
        assert "generation 2 failed to load" in await d.command(roll_back=2)
        assert await d.command(roll_back=9) == "command refused: there is no generation 9"
        assert await d.command(diff=[9]) == "command refused: there is no generation 9"
        assert "was the first" in await d.command(diff=[1])
        assert len(d.run.all("generation_ready")) == 1


async def test_a_roll_back_to_the_code_on_disk_does_not_differ_from_it(agent: Path) -> None:
    async with driven(agent) as d:
        save(agent, version("two"))
        await d.session.ready(2)
        save(agent, NATIVE)
        await d.session.ready(3)
        assert await d.command(roll_back=1) == "command done: generation 1 is current again, as generation 4"
        assert (await d.session.ready(4))["rolled_back_to"] is None


async def test_the_steps_of_a_save_add_up_to_what_it_took(agent: Path) -> None:
    async with driven(agent) as d:
        first = await d.session.ready(1)
        assert {"read", "control", "load", "switch"} <= set(first["steps"])
        save(agent, version("two"))
        ready = await d.session.ready(2)
        assert list(ready["steps"]) == ["seen", "read", "control", "load", "warm", "quiet", "switch"]
        assert all(ms >= 0 for ms in ready["steps"].values())
        assert sum(ready["steps"].values()) == pytest.approx(ready["seconds"] * 1000, abs=2)
        save(agent, "broken =\n")
        failed = await d.run.until("generation_failed")
        assert list(failed["steps"])[-1] == "load"


async def test_a_diff_shows_no_secret(agent: Path) -> None:
    async with driven(agent) as d:
        save(agent, NATIVE + 'KEY = "a-secret-that-is-long-enough-for-anybody"\n')
        save(agent.parent / ".env", "TOKEN=hush\n")
        await d.session.ready(2)
        await asyncio.sleep(0.3)
        last = d.run.all("generation_ready")[-1]["generation"]
        diff = await d.command(diff=[last, 1])
        assert '+KEY = "•••"' in diff
        assert "=== .env added: content not kept" in diff
        assert "hush" not in diff
