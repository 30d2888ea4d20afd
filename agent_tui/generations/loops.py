"""Placeholder while the real one is being written."""

from collections.abc import Iterable
from pathlib import Path


class LoopBreaker:
    def __init__(self, clock: object) -> None:
        self.passed_over: frozenset[Path] = frozenset()

    def note(self, paths: Iterable[Path], *, during_load: bool) -> frozenset[Path]:
        return frozenset()

    def forget(self) -> None:
        pass
