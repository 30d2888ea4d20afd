"""Modules of a native project that are named like the standard library's (`queue.py`, `asyncio/`).

`python agent.py` gives such a module to all code that imports the name from then on, asyncio and installed
packages included, which then fail. Here the project's own code gets the project's module, under a name of
its own in `sys.modules`, and all other code the standard library's.
"""

from __future__ import annotations

import builtins
import importlib.machinery
import os
import sys
import types
from typing import Any

from . import owned

PROJECT = "_project"
"""The package under which the project's own modules of those names are loaded."""

_EARLY = {"abc", "codecs", "encodings", "genericpath", "importlib", "io", "ntpath", "os", "posixpath", "site"}
"""Loaded before Python looks at the project's folder, as those built in are: the standard ones win."""

_STANDARD = sys.stdlib_module_names - _EARLY - set(sys.builtin_module_names)


def names(folders: list[str]) -> set[str]:
    """The names of the standard library's that are the project's as well."""
    return owned.own_names(folders, _STANDARD)


def install(folders: list[str]) -> None:
    """Separates the project's modules of such names from the standard ones, for imports from here on."""
    shadowing = names(folders)
    if not shadowing:
        return
    package = types.ModuleType(PROJECT)
    package.__path__ = folders
    sys.modules[PROJECT] = package
    sys.meta_path.insert(0, _StandardFinder(shadowing, folders))
    original = builtins.__import__

    def import_(
        name: str, globals: Any = None, locals: Any = None, fromlist: Any = (), level: int = 0
    ) -> Any:
        top = name.partition(".")[0]
        if level or top not in shadowing or not _is_own_code(globals):
            return original(name, globals, locals, fromlist, level)
        module = original(f"{PROJECT}.{name}", globals, locals, fromlist, 0)
        return module if fromlist else sys.modules[f"{PROJECT}.{top}"]

    builtins.__import__ = import_


def _is_own_code(globals: Any) -> bool:
    file = globals.get("__file__") if globals else None
    return isinstance(file, str) and owned.is_own(file)


class _StandardFinder:
    """Finds the standard library's modules of those names, past the project's folders."""

    def __init__(self, names: set[str], folders: list[str]) -> None:
        self._names = names
        self._folders = set(folders)

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> Any:
        if path is not None or fullname not in self._names:
            return None
        places = [each for each in sys.path if os.path.abspath(each) not in self._folders]
        return importlib.machinery.PathFinder.find_spec(fullname, places)
