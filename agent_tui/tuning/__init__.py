"""Tuning by measuring: test loads, sweeps over counts of idle processes, a model of the pool, and advice.

Front ends send `StartTestLoad`, `StartSweep`, and `StopTuning`, which `tuner.Tuner` carries out beside the
engine, and show `AppState.tuning`. Measurements are frozen data (`model/tuning.py`). `report` formats the
table, `stats.histogram` computes the bins, and `RunMeasure.idle` and `.arrivals_s` are the curves.
"""
