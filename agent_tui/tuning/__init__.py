"""Tuning by measuring: loads, sweeps over idle-process counts, a model of the pool, and advice."""
