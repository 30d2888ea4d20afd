"""Faults at random under steady dispatches, and what must hold all the same."""
