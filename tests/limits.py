"""How long tests wait for what will happen."""

PATIENCE_S = 60.0
"""Enough for a core that others share; only a test that fails takes it."""
