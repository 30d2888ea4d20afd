"""Tuning by measuring: loads, sweeps over idle-process counts, a model of the pool, and advice.

A front end makes a `sweep.Sweep` over an `EngineAPI`, shows each `Progress` that it tells, and hands
the result to `advice.advise` (in a thread: it simulates) and to `store.save`. All of it is frozen data;
`report` has the table's cells, `stats.histogram` the bins, `RunMeasure.idle` and `.arrivals_s` the curves.
"""
