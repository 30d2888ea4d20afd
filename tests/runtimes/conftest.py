"""Real children by each start method."""

from collections.abc import Iterator

import pytest

from agent_tui.runtimes.kinds import KINDS, NATIVE

from .support import started_by


@pytest.fixture(params=KINDS[NATIVE].starts)
def each_start_method(request: pytest.FixtureRequest) -> Iterator[None]:
    """Runs the test once for each way in which children come to be."""
    with started_by(request.param):
        yield
