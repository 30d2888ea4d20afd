"""Which modules belong to the project, what they import of installed packages, and which names clash."""

from __future__ import annotations

import builtins
import functools
import itertools
import os
import sys
import sysconfig
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Container
import importlib.machinery
import types

HERE = os.path.dirname(os.path.abspath(__file__)) + os.sep

_STANDARD = tuple(
    os.path.join(form(each), "")
    for key in ("stdlib", "platstdlib")
    if (each := sysconfig.get_path(key))
    for form in (os.path.abspath, os.path.realpath)
)
_INSTALLED = {"site-packages", "dist-packages"}


@functools.lru_cache(maxsize=None)
def is_project_file(path: str) -> bool:
    """Return True for the project's source: not an installed package's, Python's, or agent-tui's."""
    path = os.path.abspath(path)
    return path.endswith(".py") and not path.startswith(HERE) and is_project_folder(os.path.dirname(path))


def is_project_folder(path: str) -> bool:
    """Return True for a folder that may hold the project's modules."""
    if not _INSTALLED.isdisjoint(path.split(os.sep)) or path.endswith(".zip"):
        return False
    return not os.path.join(path, "").startswith(_STANDARD)


def mark_loaded() -> None:
    """Mark all modules that are loaded now as not belonging to the project, for `loaded_files`.

    `sys.modules` keeps the order of insertion, and this module moves to its end as the mark. A set of the
    names would touch each of them, and so copy megabytes of a base's memory into every fork.
    """
    sys.modules[__name__] = sys.modules.pop(__name__)


def loaded_files(file: str) -> list[str]:
    """Return the absolute paths of the project's modules loaded since `mark_loaded`, the agent's file
    first.
    """
    new = list(itertools.takewhile(lambda name: name != __name__, reversed(sys.modules)))
    paths = {getattr(sys.modules[name], "__file__", None) for name in new}
    own = {os.path.abspath(path) for path in paths if isinstance(path, str) and is_project_file(path)}
    first = os.path.abspath(file)
    return [first, *sorted(own - {first})]


def project_roots() -> list[str]:
    """Return where the project's modules are found: entries of `sys.path`, and what editable installs map."""
    roots = [os.path.abspath(each) for each in sys.path]
    for finder in sys.meta_path:
        name = getattr(finder, "__module__", "")
        if name.startswith("__editable__"):
            mapping = getattr(sys.modules.get(name), "MAPPING", {})
            roots += [os.path.dirname(each) for each in mapping.values()]
    return [each for each in dict.fromkeys(roots) if os.path.isdir(each) and is_project_folder(each)]


def package_folders() -> list[str]:
    """Return where installed packages are found."""
    folders = [each for each in sys.path if os.path.isdir(each)]
    return [each for each in folders if not _INSTALLED.isdisjoint(each.split(os.sep))]


class ThirdPartyImports:
    """While entered, records which installed modules the project's code imports, in order."""

    def __init__(self) -> None:
        self._names: dict[str, None] = {}

    def __enter__(self) -> ThirdPartyImports:
        self._import = builtins.__import__
        builtins.__import__ = self._note
        return self

    def __exit__(self, *_: object) -> None:
        builtins.__import__ = self._import

    @property
    def names(self) -> list[str]:
        """Installed modules with a file."""
        return [name for name in self._names if _is_third_party(sys.modules.get(name))]

    def _note(
        self,
        name: str,
        globals: Any = None,
        locals: Any = None,
        fromlist: Any = (),
        level: int = 0,
    ) -> Any:
        module = self._import(name, globals, locals, fromlist, level)
        if not level and _is_project_code(globals):
            self._names[name] = None
            for each in fromlist or ():
                if f"{name}.{each}" in sys.modules:
                    self._names[f"{name}.{each}"] = None
        return module


def _is_project_code(globals: Any) -> bool:
    file = globals.get("__file__") if globals else None
    return isinstance(file, str) and is_project_file(file)


def _is_third_party(module: Any) -> bool:
    file = getattr(module, "__file__", None)
    return isinstance(file, str) and not is_project_file(file)


def modules_named(folders: list[str], among: Container[str]) -> set[str]:
    """Return the names for which the folders have a module or a package."""
    found = set()
    for folder in folders:
        try:
            entries = os.listdir(folder)
        except OSError:
            continue
        for entry in entries:
            name = entry[:-3] if entry.endswith(".py") else entry
            path = os.path.join(folder, entry)
            if name in among and (path.endswith(".py") or os.path.isfile(os.path.join(path, "__init__.py"))):
                found.add(name)
    return found


def unshadow(folders: list[str]) -> None:
    """Forget installed modules named like one of the project, which plain Python would have found first."""
    for name in modules_named(folders, sys.modules) - set(sys.stdlib_module_names):
        if _is_third_party(sys.modules.get(name)):
            for each in [m for m in sys.modules if m == name or m.startswith(name + ".")]:
                del sys.modules[each]


PROJECT = "_project"
"""The package under which project modules named like the standard library's are loaded."""

_EARLY = {"abc", "codecs", "encodings", "genericpath", "importlib", "io", "ntpath", "os", "posixpath", "site"}
"""Modules that Python loads before it searches the project's folder. Like built-in ones, they always win."""

_SHADOWABLE = sys.stdlib_module_names - _EARLY - set(sys.builtin_module_names)


def shadowing_names(folders: list[str]) -> set[str]:
    """Return the names that both the standard library and the project have."""
    return modules_named(folders, _SHADOWABLE)


def separate_shadows(folders: list[str]) -> None:
    """Serve project modules named like the standard library's (`queue.py`) to the project's code only.

    With `python agent.py`, all code that imports that name gets the project's module, even asyncio and
    installed packages, which then fail. Here, only the project's code gets it, under another name in
    `sys.modules`. All other code gets the standard library's module.
    """
    shadowing = shadowing_names(folders)
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
        if level or top not in shadowing or not _is_project_code(globals):
            return original(name, globals, locals, fromlist, level)
        module = original(f"{PROJECT}.{name}", globals, locals, fromlist, 0)
        return module if fromlist else sys.modules[f"{PROJECT}.{top}"]

    builtins.__import__ = import_


class _StandardFinder:
    """Finds standard library modules with the given names. It does not search the project's folders."""

    def __init__(self, names: set[str], folders: list[str]) -> None:
        self._names = names
        self._folders = set(folders)

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> Any:
        if path is not None or fullname not in self._names:
            return None
        places = [each for each in sys.path if os.path.abspath(each) not in self._folders]
        return importlib.machinery.PathFinder.find_spec(fullname, places)
