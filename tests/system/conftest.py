"""Checks that tests on real sockets leave nothing open."""

from tests.worker.conftest import nothing_left

__all__ = ["nothing_left"]
