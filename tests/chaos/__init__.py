"""Random faults under steady dispatches, and what must hold anyway."""

import pytest

pytest.register_assert_rewrite("tests.chaos.rig", "tests.chaos.invariants")
