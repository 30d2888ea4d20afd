"""Checks that the HTTP endpoint's tests leave nothing open."""

from tests.worker.conftest import nothing_left

__all__ = ["nothing_left"]
