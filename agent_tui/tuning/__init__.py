"""Tuning by measuring: loads, sweeps over idle-process counts, a model of the pool, and advice.

Front ends send `StartTestLoad`, `StartSweep`, and `StopTuning`, and show `AppState.tuning`; `tuner.Tuner` carries
them out beside the engine. What is measured is frozen data (`model/tuning.py`). `report` has the cells of the
table, `stats.histogram` the bins, `RunMeasure.idle` and `.arrivals_s` the curves.
"""
