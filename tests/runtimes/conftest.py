"""Real children by each start method."""

from collections.abc import Iterator

import pytest

from agent_tui.runtimes.kinds import KINDS, NATIVE

from .support import started_by


@pytest.fixture(params=KINDS[NATIVE].starts)
def each_start_method(request: pytest.FixtureRequest) -> Iterator[None]:
    """Run the test once with each start method."""
    with started_by(request.param):
        yield
