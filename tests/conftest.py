"""What all tests share."""

import pytest


def pytest_make_parametrize_id(config: pytest.Config, val: object, argname: str) -> str | None:
    """Shorten the name of a test whose parameter is long; pytest numbers those that become the same."""
    return ascii(val[:40]) + "…" if isinstance(val, (str, bytes)) and len(val) > 60 else None
