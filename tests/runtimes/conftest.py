"""Real children by each start method."""

from collections.abc import Iterator

import pytest

from agent_tui.model.events import StartMethod

from .support import started_by


@pytest.fixture(params=[each for each in StartMethod if each is not StartMethod.BLANK])
def each_start_method(request: pytest.FixtureRequest) -> Iterator[None]:
    """Runs the test once for each way in which children come to be."""
    with started_by(request.param):
        yield
