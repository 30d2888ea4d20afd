"""A table of modules in which changed code runs beside the code that it replaces.

`sys.modules` keeps the modules with which the process started. Code of a table finds its own changed modules
and shares all others, so frames that are suspended in older code still import their own versions.
"""

from __future__ import annotations

import ast
import builtins
import contextlib
import importlib
import importlib.machinery
import importlib.util
import linecache
import os
import sys
import threading
import types
from typing import Any, Callable, Iterable, Iterator, Mapping

from .project_files import PROJECT, is_project_file

MAIN = ("__main__", "__mp_main__")
"""The names of the agent's file in `sys.modules`."""

Read = Callable[[str], "bytes | None"]

_lock = threading.RLock()
"""Held while a table's modules are in `sys.modules`."""

_imports: dict[tuple[str, bytes], set[str]] = {}
"""What a file with this content imports. Has the first version of files that changed code may depend on."""


class ModuleTable:
    """The modules of the project that differ from those in `sys.modules`, by name.

    A module that only imports one that differs is among them too. Each runs when it is imported first.
    """

    def __init__(
        self,
        file: str,
        sources: Mapping[str, bytes],
        paths: Iterable[str],
        read: Read,
        before: ModuleTable | None,
    ) -> None:
        """Prepare a table; nothing runs yet. May be called in a thread, so that the agent's audio goes on.

        `sources` has the content of the files that differ from those that `read` returns and `sys.modules`
        was loaded from. `paths` are the project's other files. Modules of `before`, the table in use, are
        kept if neither they nor what they import differ from it.
        """
        with _lock:
            loaded = dict(sys.modules)
        self.file = file
        self.sources = dict(sources)
        self.modules: dict[str, types.ModuleType | None] = {}
        """The modules; None for those that have not run."""
        self._read = read
        self._files = _module_files(file, [*paths, *sources], loaded)
        self._builtins = {**vars(builtins), "__import__": self._import}
        old = before.sources if before is not None else {}
        same = {path for path in old if sources.get(path) == old[path]}
        changed = {*old, *sources} - same
        newer = self._affected(changed)
        for name in self._affected(set(sources)):
            kept = before.modules.get(name) if before is not None and name not in newer else None
            self.modules[name] = kept
        parents = {parent for name in self.modules for parent in _parents(name)} - self.modules.keys()
        self.modules |= {name: None for name in parents if name in self._files and name not in loaded}
        self._shims: dict[str, _PackageShim] = {}
        for name in sorted(parents - self.modules.keys()):
            if (package := loaded.get(name)) is not None:
                self._shims[name] = _PackageShim(package, self.modules)
        for name, module in [*self.modules.items(), *self._shims.items()]:
            parent, _, child = name.rpartition(".")
            if module is not None and parent in self._shims:
                vars(self._shims[parent])[child] = module
        self._finder = _Finder(self)

    @property
    def is_main_new(self) -> bool:
        """Whether the agent's file has not run in this table, but must."""
        return any(self.modules.get(name, sys) is None for name in MAIN)

    def run_main(self, stops: type[BaseException]) -> None:
        """Run the agent's file. `stops` is raised where it would start its worker. Raise its errors."""
        name = sys.modules["__main__"].__name__
        module = types.ModuleType(name)
        module.__file__ = self.file
        module.__loader__ = importlib.machinery.SourceFileLoader(name, self.file)
        vars(module)["__cached__"] = None
        with self._in_place():
            for each in MAIN:
                if each in self.modules:
                    sys.modules[each] = module
            with contextlib.suppress(stops):
                self.execute(module, self.file)

    def module(self, name: str) -> types.ModuleType | None:
        """Return the module of that name as new code sees it; run it if needed. Raise its errors."""
        if name not in self.modules:
            return sys.modules.get(name)
        if self.modules[name] is None:
            with self._in_place():
                importlib.import_module(name)
        return self.modules[name]

    def content(self, path: str) -> bytes | None:
        """Return the content of a file in this table's version; None if there is none."""
        found = self.sources.get(path)
        return self._read(path) if found is None else found

    def path(self, name: str) -> str | None:
        """Return the file of a module of the table."""
        return self._files.get(name)

    def execute(self, module: types.ModuleType, path: str) -> None:
        content = self.content(path)
        if content is None:
            raise ImportError(f"{path} is not part of the code", path=path)
        _keep_lines(path, content)
        vars(module)["__builtins__"] = self._builtins
        exec(compile(content, path, "exec", dont_inherit=True), vars(module))

    def _affected(self, changed: set[str]) -> set[str]:
        """Return the modules of these files, and all that import one of them, directly or not."""
        found = {name for name, path in self._files.items() if path in changed}
        fresh = found
        while fresh:
            words = {name.rpartition(".")[2].encode() for name in fresh} | {b"from ."}
            importers = set()
            for name, path in self._files.items():
                if name in found or (content := self.content(path)) is None:
                    continue
                # Parsing all files would stop the agent's audio.
                if any(word in content for word in words) and fresh & self._imported(name, path, content):
                    importers.add(name)
            found |= importers
            fresh = importers
        return found

    def _imported(self, name: str, path: str, content: bytes) -> set[str]:
        key = path, content
        imported = _imports.get(key)
        if imported is None:
            imported = imported_names(content, _package(name, path))
            if path not in self.sources:  # else the memory would grow with each save
                _imports[key] = imported
        return imported

    def _import(
        self, name: str, globals: Any = None, locals: Any = None, fromlist: Any = (), level: int = 0
    ) -> Any:
        with self._in_place():
            return builtins.__import__(name, globals, locals, fromlist, level)

    @contextlib.contextmanager
    def _in_place(self) -> Iterator[None]:
        """While entered, `sys.modules` has the modules of this table."""
        with _lock:
            if self._finder in sys.meta_path:
                yield
                return
            names = [*self.modules, *self._shims]
            saved = {name: sys.modules.pop(name) for name in names if name in sys.modules}
            sys.modules.update({name: each for name, each in self.modules.items() if each is not None})
            sys.modules.update(self._shims)
            sys.meta_path.insert(0, self._finder)
            try:
                yield
            finally:
                sys.meta_path.remove(self._finder)
                for name in names:
                    module = sys.modules.pop(name, None)
                    if name in self.modules:
                        self.modules[name] = module
                sys.modules.update(saved)


class _Finder:
    """Finds the modules of a table, and loads them into it."""

    def __init__(self, table: ModuleTable) -> None:
        self._table = table

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> Any:
        file = self._table.path(fullname) if fullname in self._table.modules else None
        if file is None or fullname in MAIN:
            return None
        places = [os.path.dirname(file)] if _is_package(file) else None
        return importlib.util.spec_from_file_location(
            fullname, file, loader=_Loader(fullname, file, self._table), submodule_search_locations=places
        )


class _Loader(importlib.machinery.SourceFileLoader):
    """Runs a module with the table's `__import__`."""

    def __init__(self, name: str, path: str, table: ModuleTable) -> None:
        super().__init__(name, path)
        self._table = table

    def exec_module(self, module: types.ModuleType) -> None:
        if _is_package(self.path):  # modules that it shares are loaded already and would not be set again
            prefix = f"{self.name}."
            for name, each in list(sys.modules.items()):
                if name.startswith(prefix) and "." not in (child := name[len(prefix) :]):
                    setattr(module, child, each)
        self._table.execute(module, self.path)

    def get_data(self, path: str) -> bytes:
        content = self._table.content(str(path))
        return super().get_data(path) if content is None else content


class _PackageShim(types.ModuleType):
    """Stands for a shared package whose modules are not all shared."""

    def __init__(self, package: types.ModuleType, replaced: Mapping[str, Any]) -> None:
        super().__init__(package.__name__)
        inner = vars(self)
        inner.clear()
        inner |= {name: value for name, value in vars(package).items() if name.startswith("__")}
        inner["_shim"] = package, replaced

    def __getattr__(self, name: str) -> Any:
        return getattr(vars(self)["_shim"][0], name)

    def __setattr__(self, name: str, value: Any) -> None:
        package, replaced = vars(self)["_shim"]
        if isinstance(value, types.ModuleType) and f"{package.__name__}.{name}" in replaced:
            vars(self)[name] = value
        else:
            setattr(package, name, value)


def imported_names(content: bytes, package: str) -> set[str]:
    """Return what a file of this package imports, anywhere in it: modules, and names that may be modules."""
    try:
        tree = ast.parse(content)
    except (SyntaxError, ValueError):
        return set()
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                names |= {alias.name, *_parents(alias.name)}
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = package.rsplit(".", node.level - 1)[0] if node.level > 1 else package
                base = f"{above}.{base}".strip(".")
            names |= {base, *_parents(base), *(f"{base}.{alias.name}" for alias in node.names)}
    return names | {f"{PROJECT}.{name}" for name in names}


def _module_files(file: str, paths: Iterable[str], loaded: Mapping[str, types.ModuleType]) -> dict[str, str]:
    """Return the project's modules: those that are loaded, and those that these files would be.

    If two files would be the same module, the last one is.
    """
    names = {}
    roots = [os.path.abspath(each) for each in sys.path]
    for path in paths:
        for root in roots:
            if path.endswith(".py") and path.startswith(os.path.join(root, "")):
                name = os.path.relpath(path, root)[: -len(".py")].replace(os.sep, ".")
                name = name[: -len(".__init__")] if name.endswith(".__init__") else name
                shadows = name.partition(".")[0] in sys.stdlib_module_names
                if not shadows and all(each.isidentifier() for each in name.split(".")):
                    names[name] = path
    for name, module in loaded.items():
        found = getattr(module, "__dict__", {}).get("__file__")  # runs no `__getattr__` of a lazy module
        if isinstance(found, str) and is_project_file(found):
            names.setdefault(name, os.path.abspath(found))
    return names | {name: file for name in MAIN if name in loaded}


def _parents(name: str) -> list[str]:
    parts = name.split(".")
    return [".".join(parts[:size]) for size in range(1, len(parts))]


def _package(name: str, path: str) -> str:
    return name if _is_package(path) else name.rpartition(".")[0]


def _is_package(path: str) -> bool:
    return os.path.basename(path) == "__init__.py"


def _keep_lines(path: str, content: bytes) -> None:
    """Show the lines of the newest version in tracebacks."""
    with contextlib.suppress(SyntaxError, UnicodeError, LookupError):
        text = importlib.util.decode_source(content)
        linecache.cache[path] = (len(content), None, text.splitlines(keepends=True), path)
