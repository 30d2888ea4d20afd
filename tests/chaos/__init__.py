"""Random faults during constant dispatches, and the invariants that must hold nevertheless."""

import pytest

pytest.register_assert_rewrite("tests.chaos.rig", "tests.chaos.invariants")
