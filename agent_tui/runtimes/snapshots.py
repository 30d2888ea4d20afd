"""A generation's modules as a file without a name, for children to read from (`child/snapshots.py`)."""

import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field

HEAD = 16
"""Digits of the index's length, at the start."""


@dataclass(frozen=True, slots=True)
class Modules:
    """The project's own modules of one generation: contents by absolute path."""

    contents: Mapping[str, bytes] = field(default_factory=dict)
    missing: frozenset[str] = frozenset()
    """Modules, without suffix, that it has not: what is saved under their names later belongs to the next."""


class SnapshotFile:
    """The modules in one descriptor that children get a copy of."""

    def __init__(self, modules: Modules) -> None:
        """Raises OSError, with nothing left open."""
        places: dict[str, tuple[int, int]] = {}
        offset = 0
        for path, content in modules.contents.items():
            places[path] = offset, len(content)
            offset += len(content)
        index = json.dumps([places, sorted(modules.missing)], separators=(",", ":")).encode("ascii")
        self.fd = _nameless()
        try:
            with os.fdopen(os.dup(self.fd), "wb") as file:
                file.write(f"{len(index):{HEAD}}".encode("ascii"))
                file.write(index)
                for content in modules.contents.values():
                    file.write(content)
        except OSError:
            self.close()
            raise

    def close(self) -> None:
        """Ours only; children have their own. Can be called again."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1


def _nameless() -> int:
    if hasattr(os, "memfd_create"):
        return os.memfd_create("agent-tui generation")
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())
