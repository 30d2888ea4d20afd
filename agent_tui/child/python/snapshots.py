"""The project's modules as they were when their generation was loaded.

The host passes one file descriptor: 16 digits with the length of an index, the index (JSON: path → [offset,
size], and the modules that were missing), then the contents. These modules are imported from there, even
lazily, and so are their lines in tracebacks. Bytecode files are not used: after two saves of the same size,
they can be stale for a second. Missing modules stay missing, because they were saved for a later generation.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.machinery
import importlib.util
import json
import linecache
import marshal
import os
import sys
from typing import TYPE_CHECKING, Any, Iterable

from . import project_files

if TYPE_CHECKING:
    from types import CodeType

HEAD = 16

Key = tuple[str, str]
"""A file's path and the digest of its content."""

codes: dict[Key, CodeType] = {}
"""Compiled modules. A base keeps them for all generations that are forked from it."""

fresh: set[Key] = set()
"""Keys of the modules that were compiled in this process since the last `pop_fresh`."""


class Snapshot:
    """The index of a snapshot; contents are read on demand."""

    def __init__(self, fd: int | None) -> None:
        """Take ownership of the descriptor. With None, the snapshot is empty: files are read from disk."""
        self._fd: int | None = None
        self._places: dict[str, list[int]] = {}
        self._base = HEAD
        self.missing: set[str] = set()
        """Modules, without suffix, that are not part of the generation, whatever is on disk now."""
        self.folders: set[str] = set()
        """Every folder that has a module of the snapshot at any depth."""
        self.served: set[str] = set()
        """Every folder whose imports the snapshot serves: `folders`, and the folders of missing modules."""
        if fd is not None:
            self.read_index(fd)

    def read_index(self, fd: int) -> None:
        """Replace the descriptor by another one, and own it: a template's fork gets one with more modules."""
        if self._fd is not None:
            os.close(self._fd)
        self._fd = fd
        length = int(os.pread(fd, HEAD, 0))
        places, missing = json.loads(_pread(fd, length, HEAD))
        self._places, self.missing, self._base = places, set(missing), HEAD + length
        self.folders.clear()
        for path in self._places:
            while (path := os.path.dirname(path)) not in self.folders:
                self.folders.add(path)
        self.served = self.folders.union(map(os.path.dirname, self.missing))
        for folder in self.served:
            sys.path_importer_cache.pop(folder, None)

    @property
    def paths(self) -> list[str]:
        return list(self._places)

    def __contains__(self, path: str) -> bool:
        return path in self._places

    def read(self, path: str) -> bytes | None:
        """Return a file's content; None if it is not part of the snapshot."""
        place = self._places.get(path)
        if place is None or self._fd is None:
            return None
        return _pread(self._fd, place[1], self._base + place[0])


def _pread(fd: int, size: int, offset: int) -> bytes:
    """Return the whole range, with several calls if needed: one reads at most 2 GiB, and may read less."""
    data = os.pread(fd, size, offset)
    while len(data) < size and (more := os.pread(fd, size - len(data), offset + len(data))):
        data += more
    return data


def compiled(path: str, content: bytes) -> CodeType:
    """Return the content's code object, compiled once; its lines are kept for tracebacks."""
    key = path, hashlib.sha1(content, usedforsecurity=False).hexdigest()
    _keep_lines(path, content)
    code = codes.get(key)
    if code is None:
        code = codes[key] = compile(content, path, "exec", dont_inherit=True)
        fresh.add(key)
    return code


def pop_fresh() -> list[tuple[Key, bytes]]:
    """Return the code that was compiled here since the last call, for a base to keep."""
    taken = []
    for key in fresh:
        with contextlib.suppress(ValueError):  # nested too deeply: it is compiled again
            taken.append((key, marshal.dumps(codes[key])))
    fresh.clear()
    return taken


def add_codes(packed: Iterable[tuple[Key, bytes]]) -> None:
    """Keep code objects that another process of this interpreter compiled, and drop those they replace."""
    for key, data in packed:
        for old in [each for each in codes if each[0] == key[0] and each != key]:
            del codes[old]
        codes[key] = marshal.loads(data)


def _keep_lines(path: str, content: bytes) -> None:
    """Keep a file's lines for tracebacks, in an entry of `linecache` without a time.

    For an entry with a time, `linecache` would read the file on disk, which may be newer.
    """
    try:
        text = importlib.util.decode_source(content)
    except Exception:  # some codecs raise errors of their own
        return  # the compiler reports what is wrong with it
    linecache.cache[path] = (len(content), None, text.splitlines(keepends=True), path)


class _Finder(importlib.machinery.FileFinder):
    """Finds what the snapshot has, whatever is on disk, and leaves everything else to Python."""

    snapshot: Snapshot

    def find_spec(self, fullname: str, target: Any = None) -> importlib.machinery.ModuleSpec | None:
        spec = super().find_spec(fullname, target)
        if spec is not None and isinstance(spec.loader, importlib.machinery.ExtensionFileLoader):
            return spec
        base = os.path.join(self.path, fullname.rpartition(".")[2])
        if base in self.snapshot.missing:
            is_compiled = isinstance(spec and spec.loader, importlib.machinery.SourcelessFileLoader)
            return spec if is_compiled else None
        package = os.path.join(base, "__init__.py")
        if package in self.snapshot:
            return _spec(fullname, package, [base])
        if base + ".py" in self.snapshot:
            return _spec(fullname, base + ".py", None)
        if spec is None and base in self.snapshot.folders:
            spec = importlib.machinery.ModuleSpec(fullname, None, is_package=True)
            spec.submodule_search_locations = [base]
        return spec


def _spec(fullname: str, path: str, places: list[str] | None) -> importlib.machinery.ModuleSpec | None:
    loader = importlib.machinery.SourceFileLoader(fullname, path)
    return importlib.util.spec_from_file_location(
        fullname, path, loader=loader, submodule_search_locations=places
    )


def _hook(snapshot: Snapshot) -> Any:
    machinery = importlib.machinery
    loaders = (
        (machinery.ExtensionFileLoader, machinery.EXTENSION_SUFFIXES),
        (machinery.SourceFileLoader, machinery.SOURCE_SUFFIXES),
        (machinery.SourcelessFileLoader, machinery.BYTECODE_SUFFIXES),
    )
    finder = type("SnapshotFinder", (_Finder,), {"snapshot": snapshot})

    def hook(path: str) -> Any:
        if path not in snapshot.served:
            raise ImportError(f"{path} is not a file of the project")
        return finder(path, *loaders)

    return hook


def install(snapshot: Snapshot) -> None:
    """Serve imports of the project's modules from the snapshot, compiled here and not from bytecode files."""
    loader: Any = importlib.machinery.SourceFileLoader
    get_code, get_data = loader.get_code, loader.get_data

    def own_code(self: Any, fullname: str) -> Any:
        path = self.get_filename(fullname)
        if path in snapshot or project_files.is_project_file(path):
            return compiled(path, self.get_data(path))
        return get_code(self, fullname)

    def own_data(self: Any, path: str) -> Any:
        content = snapshot.read(path)
        return get_data(self, path) if content is None else content

    loader.get_code, loader.get_data = own_code, own_data
    sys.path_hooks.insert(0, _hook(snapshot))
    for folder in snapshot.served:
        sys.path_importer_cache.pop(folder, None)
