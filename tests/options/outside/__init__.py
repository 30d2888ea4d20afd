"""Each option, from each of its sources: its effect as seen from outside."""
