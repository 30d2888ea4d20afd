"""Each option, from each of its sources: its effect, checked from outside."""
