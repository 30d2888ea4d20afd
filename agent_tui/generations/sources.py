"""Placeholder while the real one is being written."""

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Snapshot:
    modules: Mapping[str, bytes]
    others: Mapping[str, bytes]


class Sources:
    def __init__(
        self, agent: Path, *, cwd: Path, globs: Sequence[str] = (), roots: Sequence[str] = ()
    ) -> None:
        self._agent = agent
        self._root = Path(os.path.realpath(agent)).parent

    def learn(self, roots: Iterable[str], files: Iterable[str]) -> None:
        pass

    def read(self) -> Snapshot:
        files = {*self._root.glob("*.py"), self._agent.absolute()}
        return Snapshot({str(f): f.read_bytes() for f in files if f.exists()}, {})

    def changed(self, since: Snapshot) -> tuple[Path, ...]:
        now = self.read().modules
        before = since.modules
        return tuple(sorted(Path(p) for p in {*now, *before} if now.get(p) != before.get(p)))

    @property
    def folders(self) -> frozenset[Path]:
        return frozenset({self._root})
