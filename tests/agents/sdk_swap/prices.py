"""A helper module that the agent imports."""

PRICE = 10
