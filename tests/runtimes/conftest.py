"""Real children by each start method, and the bases of SDKs that a module's tests share."""

from collections.abc import AsyncIterator, Iterator

import pytest
import pytest_asyncio

from agent_tui.model.events import StartMethod
from agent_tui.runtimes.kinds import KINDS, NATIVE

from ..sdks import ALL_PAIRS, turn
from .support import SharedBases, started_by


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test of `each_start_method` with two start methods, which take turns from test to test."""
    if "each_start_method" in metafunc.fixturenames:
        methods = KINDS[NATIVE].starts
        first = turn(metafunc)
        in_turn = [methods[(first + number) % len(methods)] for number in range(2)]
        metafunc.parametrize("each_start_method", methods if ALL_PAIRS else in_turn, indirect=True)


@pytest.fixture
def each_start_method(request: pytest.FixtureRequest) -> Iterator[StartMethod]:
    """Yield the method that starts the test's children."""
    with started_by(request.param):
        yield request.param


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def bases() -> AsyncIterator[SharedBases]:
    """Yield the bases of the module's tests, which must run on the loop of the module."""
    shared = SharedBases()
    yield shared
    await shared.close()
