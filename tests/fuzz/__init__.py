"""Mutated frames at every place where bytes come in: no crash, no hang."""
