"""What all tests share."""

import gc
import os
from collections.abc import Iterator

import hypothesis
import pytest

from .nodes import CACHE
from .sdks import parametrize_sdk

# Time limits of hypothesis would fail a test because the machine pauses.
hypothesis.settings.register_profile(
    "untimed", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("untimed")


def pytest_collection_finish() -> None:
    """Collect garbage less often. By default it takes a quarter of the time of a test with the dashboard."""
    gc.collect()
    gc.freeze()  # modules and tests live until the end
    gc.set_threshold(20_000, 10, 20)


@pytest.fixture(autouse=True, scope="session")
def no_real_state(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep tests, and processes with their environment, from writing to the developer's state folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        yield


@pytest.fixture(autouse=True, scope="session")
def node_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Give Node one folder for compiled code, which all xdist workers share."""
    base = tmp_path_factory.getbasetemp()
    run = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    CACHE["XDG_CACHE_HOME"] = str(run / "cache")


def pytest_make_parametrize_id(config: pytest.Config, val: object, argname: str) -> str | None:
    """Shorten the name of a test whose parameter is long; pytest numbers those that become the same."""
    return ascii(val[:40]) + "…" if isinstance(val, (str, bytes)) and len(val) > 60 else None


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Carry out the markers of `tests.sdks`."""
    parametrize_sdk(metafunc)
