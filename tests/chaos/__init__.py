"""Faults at random under steady dispatches, and what must hold all the same."""

import pytest

pytest.register_assert_rewrite("tests.chaos.rig", "tests.chaos.invariants")
