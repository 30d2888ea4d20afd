"""Checks that tests on real sockets leave nothing open."""

import asyncio
from collections.abc import AsyncIterator

import psutil
import pytest_asyncio

POLLS = 200


@pytest_asyncio.fixture
async def nothing_left() -> AsyncIterator[None]:
    """Fail a test that leaves a descriptor or a task behind."""
    process = psutil.Process()
    before = process.num_fds()
    yield
    here = asyncio.current_task()
    for _ in range(POLLS):
        if process.num_fds() <= before and not asyncio.all_tasks() - {here}:
            return
        await asyncio.sleep(0.01)
    raise AssertionError(f"{process.num_fds() - before} descriptors, tasks {asyncio.all_tasks() - {here}}")
