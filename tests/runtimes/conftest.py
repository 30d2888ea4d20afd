"""Real children by each start method."""

from collections.abc import Iterator

import pytest

from agent_tui.model.events import StartMethod
from agent_tui.runtimes.orphans import become_subreaper

from .support import method


@pytest.fixture(params=list(StartMethod))
def each_start_method(request: pytest.FixtureRequest) -> Iterator[None]:
    """Runs the test once for each way in which children come to be."""
    become_subreaper()
    token = method.set(request.param)
    yield
    method.reset(token)
