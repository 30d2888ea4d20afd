"""Real saves in real folders."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from agent_tui.generations.sources import Watch
from tests.fakes.scripted_child import until

pytestmark = pytest.mark.real


@asynccontextmanager
async def watching(*folders: Path, any_name: bool = False) -> AsyncIterator[Watch]:
    fds = len(list(Path("/proc/self/fd").iterdir()))
    async with Watch(any_name=any_name) as watch:
        watch.follow(folders)
        await heard(watch)  # it starts with a check
        await asyncio.sleep(0.1)
        yield watch
    assert asyncio.all_tasks() == {asyncio.current_task()}
    await until(lambda: len(list(Path("/proc/self/fd").iterdir())) <= fds)


async def heard(watch: Watch) -> None:
    async with asyncio.timeout(0.8):  # less than the interval of the regular check
        await watch.next()


async def test_saves_are_seen_in_each_folder_and_in_new_ones(tmp_path: Path) -> None:
    a, b = tmp_path / "a", tmp_path / "b"
    a.mkdir()
    b.mkdir()
    async with watching(a, b, tmp_path / "missing") as watch:
        for folder in (a, b):
            (folder / "x.py").write_text("1")
            await heard(watch)
        fresh = tmp_path / "x.tmp"
        fresh.write_text("2")
        fresh.replace(a / "x.py")
        await heard(watch)
        (a / "package").mkdir()
        await heard(watch)
        watch.follow([a, b, a / "package"])
        await heard(watch)
        await asyncio.sleep(0.1)
        (a / "package/y.py").write_text("3")
        await heard(watch)


async def test_irrelevant_files_are_filtered(tmp_path: Path) -> None:
    async with watching(tmp_path) as watch:
        (tmp_path / "agent.log").write_text("line")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await watch.next()
        (tmp_path / ".env.local").write_text("A=1")
        await heard(watch)
    async with watching(tmp_path, any_name=True) as watch:
        (tmp_path / "prompt.md").write_text("line")
        await heard(watch)


async def test_a_folder_that_vanishes_does_not_end_the_watching(tmp_path: Path) -> None:
    a, b = tmp_path / "a", tmp_path / "b"
    a.mkdir()
    b.mkdir()
    async with watching(a, b) as watch:
        a.rmdir()
        await asyncio.sleep(0.1)
        (b / "x.py").write_text("1")
        await heard(watch)


async def test_all_files_are_checked_at_intervals_anyway(tmp_path: Path) -> None:
    async with watching(tmp_path) as watch, asyncio.timeout(3):
        await watch.next()
