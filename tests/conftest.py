"""What all tests share."""

import pytest

from .sdks import parametrize_pairs


def pytest_make_parametrize_id(config: pytest.Config, val: object, argname: str) -> str | None:
    """Shorten the name of a test whose parameter is long; pytest numbers those that become the same."""
    return ascii(val[:40]) + "…" if isinstance(val, (str, bytes)) and len(val) > 60 else None


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Carry out `tests.sdks.each_sdk_with`."""
    if marker := metafunc.definition.get_closest_marker("each_sdk_with"):
        parametrize_pairs(metafunc, *marker.args, **marker.kwargs)
