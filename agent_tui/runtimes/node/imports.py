"""The imports of a JavaScript or TypeScript file, found in its text, and the project's files that they run.

Extra imports do no harm, so comments and strings are treated like code. Imports that only Node can resolve
(packages of a workspace, conditional exports) come from a load's manifest.
"""

import itertools
import json
import os
import re
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from pathlib import Path

from agent_tui.reading import read_start
from agent_tui.runtimes.imports import Import, names_in

MOST_SCANNED = 2**20
"""How many bytes of a file are scanned."""

MOST_NAMES = 10_000
SUFFIXES = (".ts", ".tsx", ".mts", ".cts", ".js", ".mjs", ".cjs", ".jsx", ".json")
"""The suffixes to try for an import that has none, in order."""

TYPESCRIPT = {".js": (".ts", ".tsx"), ".mjs": (".mts",), ".cjs": (".cts",), ".jsx": (".tsx",)}
"""The suffixes that a suffix in an import may stand for in a TypeScript project."""

MOST_EXTENDED = 8
"""Maximum number of files in a chain of `extends` in tsconfig.json."""

SETTINGS = (
    "package.json",
    "tsconfig.json",
    "node_modules/.package-lock.json",
    "node_modules/@livekit/agents/package.json",
)
"""Files in a folder at or above a module that change how it is read, or which packages it gets. npm writes
the third one when it has installed something.
"""

_SPECIFIER = re.compile(
    r"""(?:\bfrom|\bimport|\bimport\s*\(|\brequire\s*\(|\bnew\s+URL\s*\()\s*["'`]([^"'`\n$]{1,1024})["'`]"""
)
_COMMENT = re.compile(r'("(?:[^"\\]|\\.)*")|//[^\n]*|/\*.*?\*/', re.DOTALL)
_TRAILING_COMMA = re.compile(r",(\s*[}\]])")

Paths = tuple[str, Mapping[str, tuple[str, ...]]]
"""From a tsconfig.json: the folder that its targets are relative to, and the targets by pattern."""


def imports_of(source: bytes) -> tuple[Import, ...]:
    """Return each module specifier in a source once, even if the source is not valid."""
    text = source[:MOST_SCANNED].decode("utf-8", "replace")
    found = itertools.islice(_SPECIFIER.finditer(text), MOST_NAMES)
    return tuple({Import(match[1]): None for match in found})


def stem(path: str) -> str:
    """Return a module's path without suffix, or a folder's without `index`."""
    base, suffix = os.path.splitext(path)
    return base.removesuffix("/index") if suffix in SUFFIXES else path


def settings_files(folders: Iterable[str]) -> Iterator[str]:
    """Yield the files, whether or not they exist, that change how modules in these folders are read."""
    seen: set[str] = set()
    for each in folders:
        folder = each
        while folder not in seen:
            seen.add(folder)
            yield from (os.path.join(folder, name) for name in SETTINGS)
            folder = os.path.dirname(folder)


class NodeResolver:
    """Finds the project's files that imports run, and records where it searched for them."""

    def __init__(self, names_in: Callable[[str], Container[str]] = names_in) -> None:
        self.folders: set[str] = set()
        """Folders that were searched."""
        self.missing: set[str] = set()
        """Modules, without suffix, that do not exist."""
        self.configs: set[str] = set()
        """Every tsconfig.json that was read, and what it extends."""
        self._names_in = names_in
        self._paths: dict[str, Paths | None] = {}

    def files(self, each: Import, importer: str, roots: Iterable[str]) -> Iterator[str]:
        """Yield the file that an import in the file `importer` runs, if it belongs to the project."""
        name = each.module.removeprefix("file://").split("?")[0]
        folder = os.path.dirname(importer)
        if name.startswith(("./", "../", "/")) or name in (".", ".."):
            yield from self._file(os.path.normpath(os.path.join(folder, name)), required=True)
            return
        paths = self._tsconfig(folder)
        for target in _mapped(name, paths) if paths else ():
            yield from self._file(os.path.normpath(target), required=False)

    def _file(self, path: str, *, required: bool) -> Iterator[str]:
        folder, name = os.path.split(path)
        if "node_modules" in folder.split(os.sep):
            return
        self.folders.add(folder)
        names = self._names_in(folder)
        base, suffix = os.path.splitext(name)
        options = [name] if suffix else []
        options += [base + other for other in TYPESCRIPT.get(suffix, ())]
        options += [name + other for other in SUFFIXES]
        for option in options:
            if option in names:
                yield os.path.realpath(os.path.join(folder, option))
                return
        if name in names or not name:
            inside = self._names_in(path)
            self.folders.add(path)
            for option in (f"index{suffix}" for suffix in SUFFIXES):
                if option in inside:
                    yield os.path.realpath(os.path.join(path, option))
                    return
        if required:
            self.missing.add(stem(path))

    # -- tsconfig.json --------------------------------------------------------------------------------

    def _tsconfig(self, folder: str) -> Paths | None:
        """Return the paths of the nearest tsconfig.json, at the folder or above it."""
        if folder not in self._paths:
            self._paths[folder] = None
            file = os.path.join(folder, "tsconfig.json")
            if "tsconfig.json" in self._names_in(folder):
                self.folders.add(folder)
                self._paths[folder] = self._read_paths(file)
            elif (above := os.path.dirname(folder)) != folder:
                self._paths[folder] = self._tsconfig(above)
        return self._paths[folder]

    def _read_paths(self, file: str) -> Paths | None:
        found = None
        for each, config in extended(file):
            self.configs.add(each)
            options = config.get("compilerOptions")
            if found is None and isinstance(options, dict) and isinstance(options.get("paths"), dict):
                base = options.get("baseUrl")
                folder = os.path.dirname(each)
                root = os.path.join(folder, base) if isinstance(base, str) else folder
                patterns = {
                    str(pattern): tuple(target for target in targets if isinstance(target, str))
                    for pattern, targets in options["paths"].items()
                    if isinstance(targets, list)
                }
                found = root, patterns
        return found


def extended(file: str) -> Iterator[tuple[str, Mapping[str, object]]]:
    """Yield a tsconfig.json and the files that it extends, with their content, the nearest first."""
    waiting = [file]
    for _ in range(MOST_EXTENDED):
        if not waiting:
            return
        file = waiting.pop()
        config = _read_jsonc(file)
        yield file, config
        named = config.get("extends")
        for each in named if isinstance(named, list) else [named]:  # of several, the last one wins
            if isinstance(each, str) and each.startswith((".", "/")):
                path = os.path.normpath(os.path.join(os.path.dirname(file), each))
                waiting.append(path if path.endswith(".json") else f"{path}.json")


def _read_jsonc(file: str) -> Mapping[str, object]:
    try:
        text = read_start(Path(file), MOST_SCANNED).decode("utf-8", "replace")
        text = _COMMENT.sub(lambda match: match[1] or "", text)
        content = json.loads(_TRAILING_COMMA.sub(r"\1", text))
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def _mapped(name: str, paths: Paths) -> Iterator[str]:
    """Yield the paths that a specifier may stand for, according to `paths` of tsconfig.json."""
    root, patterns = paths
    for pattern, targets in patterns.items():
        before, star, after = pattern.partition("*")
        if star and name.startswith(before) and name.endswith(after):
            middle = name[len(before) : len(name) - len(after)]
        elif name == pattern:
            middle = ""
        else:
            continue
        for target in targets:
            yield os.path.join(root, target.replace("*", middle, 1))
