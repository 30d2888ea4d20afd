"""The HTTP endpoint's tests, too, leave nothing open."""

from tests.worker.conftest import nothing_left

__all__ = ["nothing_left"]
