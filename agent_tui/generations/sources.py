"""The files of a generation: which ones, their content now, and a watch for changes.

Modules are found by following all imports from the agent's file, those inside functions too, so that saving
an unrelated file has no effect. The manifest adds the modules that only running the code shows.

Files may be half written. A file that cannot be read or scanned is left out. The agent's interpreter then
finds it on disk, or reports what is wrong with it.
"""

import asyncio
import fnmatch
import glob
import hashlib
import itertools
import os
import stat
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from watchfiles import Change, awatch

from agent_tui.model.errors import UserError
from agent_tui.options.configfile import NAME as CONFIG
from agent_tui.options.envfiles import project_root
from agent_tui.reading import normalized, read_file
from agent_tui.runtimes.imports import INSTALLED, NEVER_FOLLOWED, Import, Resolver, imports_of
from agent_tui.runtimes.kinds import JAVASCRIPT
from agent_tui.runtimes.node.imports import SUFFIXES, NodeResolver, settings_files
from agent_tui.runtimes.node.imports import imports_of as node_imports
from agent_tui.runtimes.node.imports import stem as node_stem

MOST_MODULES = 5000
MOST_BYTES = 64 * 2**20
"""Bytes of all modules together. Modules beyond that, or above `LARGEST`, are loaded from disk."""

LARGEST = 8 * 2**20
MOST_FOLDERS = 2000

RACY_S = 2.0
"""A file younger than this, in s, may change again without a new time. As in git, it is always read."""

MOST_DIGESTED = LARGEST
"""A watched file larger than this, in bytes, is compared by time and size, because reading it is slow."""

STEP_MS = 10
"""A burst of events is reported once no further event has come for this long, in ms."""

MOST_MS = 30
CHECK_MS = 1000
"""Milliseconds between checks of all files. Some file systems (network, containers) report no events."""

_Stamp = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The content of files, by absolute path: `modules` in full, `others` as digests.

    The paths of modules are spelled as the import system spells them.
    """

    modules: Mapping[str, bytes]
    others: Mapping[str, bytes]
    missing: frozenset[str] = frozenset()
    """Modules, without suffix, that are imported and did not exist."""
    written: Mapping[str, float] = field(default_factory=dict, compare=False)
    """When each file was last written, in Unix time."""
    unread: frozenset[str] = field(default=frozenset(), compare=False)
    """Modules that could not be read, such as a pipe, or a file that was being replaced."""


@dataclass(frozen=True, slots=True)
class _File:
    """A file as it was read. `stamp` is None while the file is too young to trust it."""

    stamp: _Stamp | None
    content: bytes
    written: float
    imports: tuple[Import, ...] = ()


class Appeared(UserError):
    """A module that could not be read for the snapshot existed by the time the agent's file imported it."""


class Sources:
    """The files of one agent. `read` takes as long as the file system does: call it in a thread."""

    def __init__(
        self, agent: Path, *, cwd: Path, globs: Sequence[str] = (), roots: Sequence[str] = ()
    ) -> None:
        """`roots` are additional entries of the agent's `sys.path`. Raise UserError for a bad pattern."""
        self._is_node = agent.suffix.lower() in JAVASCRIPT
        # Node identifies a module by its path with links resolved.
        self._agent = os.path.realpath(agent) if self._is_node else str(normalized(agent))
        first = os.path.dirname(os.path.realpath(agent))
        self._roots: dict[str, None] = {first: None}
        self._learned: dict[str, None] = {}
        self._globs = [_Pattern(pattern, cwd) for pattern in globs]
        env_folders = (Path(first), project_root(agent), cwd.resolve())
        self._env_folders = tuple(dict.fromkeys(str(each) for each in env_folders if each is not None))
        self._cache: dict[str, _File] = {}
        self._digests: dict[str, _File] = {}
        self._listings: dict[str, tuple[tuple[int, int] | None, frozenset[str]]] = {}
        self._resolver: Resolver | NodeResolver = self._make_resolver()
        """The resolver of the last read. Its folders are those in which a change can matter."""
        self._lock = threading.RLock()
        self.folders: frozenset[Path] = frozenset()
        """Folders in which a change can matter, as of the last `read`; each is watched without its
        subfolders.
        """
        self.learn(roots, ())

    def learn(self, roots: Iterable[str], files: Iterable[str]) -> None:
        """Add folders from which a loaded generation imports (`roots`), and files that it has imported."""
        with self._lock:
            self._roots |= dict.fromkeys(
                each for each in roots if os.path.isabs(each) and not _installed(each)
            )
            self._learned |= dict.fromkeys(each for each in files if not _installed(each))

    def read(self) -> Snapshot:
        """Return the files as they are on disk now."""
        with self._lock:
            return self._read()

    def complete(
        self, snapshot: Snapshot, roots: Iterable[str], files: Collection[str], accept_new: bool
    ) -> Snapshot:
        """Return the snapshot of a load, completed with the modules that only loading showed.

        `roots` are the folders that the agent imports from, `files` the modules that it has imported. If one
        of them could not be read when the snapshot was taken, the load may mix two versions: raise Appeared,
        unless `accept_new`.
        """
        self.learn(roots, files)
        now = self.read()
        late = {
            each
            for each in now.modules.keys() - snapshot.modules.keys()
            if _stem(each) in snapshot.missing or each in snapshot.unread
        }
        imported = late.intersection(files)
        if imported and not accept_new:
            raise Appeared(f"{min(imported)} appeared while the agent's file was loading")
        # A module that was saved since, and is not loaded yet, belongs only to the next generation.
        found = {path: content for path, content in now.modules.items() if path not in late - imported}
        modules = {**found, **snapshot.modules}
        missing = (snapshot.missing | now.missing).difference(map(_stem, modules))
        # Settings files of modules that only loading showed: they were unknown until now, so they are no
        # change.
        settings = {path: now.others[path] for path in self._node_settings(modules) if path in now.others}
        return replace(snapshot, modules=modules, missing=missing, others={**settings, **snapshot.others})

    def _make_resolver(self) -> Resolver | NodeResolver:
        return NodeResolver(self._listing) if self._is_node else Resolver(self._listing)

    def _read(self) -> Snapshot:
        resolver = self._resolver = self._make_resolver()
        resolver.folders.update(self._roots, self._env_folders)
        modules: dict[str, bytes] = {}
        written: dict[str, float] = {}
        left_out = []
        # Each is read once: a second reading could fail, and drop what the first one has kept.
        waiting = list(dict.fromkeys((self._agent, *self._learned)))
        seen = set(waiting)
        left = MOST_BYTES
        while waiting and len(modules) < MOST_MODULES:
            path = waiting.pop()
            file = self._file(path, min(left, LARGEST))
            if file is None:
                left_out.append(path)
                continue
            left -= len(file.content)
            modules[path], written[path] = file.content, file.written
            for each in file.imports:
                for found in resolver.files(each, path, self._roots):
                    if found not in seen:
                        seen.add(found)
                        waiting.append(found)
        others: dict[str, bytes] = {}
        for path in dict.fromkeys((*left_out, *self._other_files(), *self._node_settings(modules))):
            if path not in modules and (digest := self._digest(path)) is not None:
                others[path], written[path] = digest.content, digest.written
        self._cache = {path: self._cache[path] for path in modules}
        self._digests = {path: self._digests[path] for path in others}
        self.folders = frozenset(Path(each) for each in resolver.folders if os.path.isdir(each))
        return Snapshot(modules, others, frozenset(resolver.missing), written, frozenset(left_out))

    def changed(self, since: Snapshot) -> tuple[Path, ...]:
        """Return the files that now differ from a snapshot, sorted. New and deleted files are included."""
        return differing(since, self.read())

    @property
    def folder(self) -> str:
        """The folder of the agent's file."""
        return os.path.dirname(self._agent)

    @property
    def any_name(self) -> bool:
        """Whether files of any name can matter, not only modules and environment files."""
        return bool(self._globs)

    # -- modules --------------------------------------------------------------------------------------

    def _listing(self, folder: str) -> frozenset[str]:
        """Return the names in a folder; empty if it is not a folder."""
        try:
            status = os.stat(folder)
            kept = self._listings.get(folder)
            stamp = status.st_mtime_ns, status.st_ctime_ns
            if kept is not None and kept[0] == stamp:
                return kept[1]
            names = frozenset(os.listdir(folder))
        except (OSError, ValueError):
            return frozenset()
        self._listings[folder] = (None if _is_young(status) else stamp, names)
        return names

    def _file(self, path: str, most_bytes: int) -> _File | None:
        """Return a file. Read it again if it may have changed. None if it is unreadable or too large."""
        try:
            status = os.stat(path)
            stamp = _stamp(status)
            kept = self._cache.get(path)
            if kept is None or kept.stamp != stamp or len(kept.content) > most_bytes:
                content = read_file(path, most_bytes)
                same = kept is not None and kept.content == content
                scan = node_imports if self._is_node else _all_imports
                found = kept.imports if same and kept else scan(content)
                trusted = None if _is_young(status) else stamp
                kept = self._cache[path] = _File(trusted, content, _written(status), found)
        except (OSError, ValueError):
            self._cache.pop(path, None)
            return None
        target = os.path.realpath(path)
        if target != path:
            self._resolver.folders.add(os.path.dirname(target))
        self._resolver.folders.add(os.path.dirname(path))
        return kept

    # -- other files ----------------------------------------------------------------------------------

    def _other_files(self) -> Iterator[str]:
        for folder in self._env_folders:
            for name in self._listing(folder):
                if is_settings_file(name):
                    yield os.path.join(folder, name)
        for pattern in self._globs:
            yield from pattern.find(self._resolver.folders)

    def _node_settings(self, modules: Iterable[str]) -> Iterator[str]:
        """Yield the settings files that change how these agents-js modules are read."""
        if isinstance(self._resolver, NodeResolver):
            yield from settings_files((*self._env_folders, *map(os.path.dirname, modules)))
            yield from self._resolver.configs

    def _digest(self, path: str) -> _File | None:
        """Return a file with a digest in place of its content. Read it again if it may have changed.

        The digest is empty if the file is unreadable or not regular. Return None if there is no such file.
        """
        try:
            status = os.stat(path)
        except (OSError, ValueError):
            self._digests.pop(path, None)
            return None
        stamp = _stamp(status)
        kept = self._digests.get(path)
        if kept is None or kept.stamp != stamp:
            trusted = None if _is_young(status) else stamp
            kept = self._digests[path] = _File(trusted, _digest(path, status), _written(status))
        return kept


def _all_imports(content: bytes) -> tuple[Import, ...]:
    """Return each module that the code imports, even under a condition: a superset does no harm."""
    return tuple({Import(each.module, each.level): None for each in imports_of(content)})


def _digest(path: str, status: os.stat_result) -> bytes:
    if stat.S_ISREG(status.st_mode) and status.st_size > MOST_DIGESTED:
        return repr(_stamp(status)).encode()
    try:
        return hashlib.sha1(read_file(path, MOST_DIGESTED), usedforsecurity=False).digest()
    except OSError:
        return b""


def _stamp(status: os.stat_result) -> _Stamp:
    """Return a value that changes with each write.

    It includes the change time, which programs cannot set, unlike the modification time.
    """
    return status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_ino


def _written(status: os.stat_result) -> float:
    """Return when the file was last written, in Unix time, even if its modification time was set back."""
    return max(status.st_mtime, status.st_ctime)


def _is_young(status: os.stat_result) -> bool:
    return time.time() - _written(status) < RACY_S


def _stem(path: str) -> str:
    """Return a module's path without suffix, or a package's without `__init__.py`."""
    if not path.endswith(".py"):
        return node_stem(path)
    return path.removesuffix("/__init__.py").removesuffix(".py")


def differing(before: Snapshot, now: Snapshot) -> tuple[Path, ...]:
    """Return the paths whose content differs, sorted."""
    old, new = {**before.modules, **before.others}, {**now.modules, **now.others}
    return tuple(sorted(Path(path) for path in {*old, *new} if old.get(path) != new.get(path)))


def is_settings_file(name: str) -> bool:
    """Return whether a file is named `.env`, `.env.*`, or `agent-tui.toml`. `.envrc` does not count."""
    return name in (".env", CONFIG) or name.startswith(".env.")


class _Pattern:
    """A `--watch` pattern. Unlike `glob`, its walk does not follow links in circles."""

    def __init__(self, pattern: str, cwd: Path) -> None:
        """Raise UserError for an empty pattern."""
        if not pattern.strip() or "\0" in pattern:
            raise UserError(f"--watch: {pattern!r} is not a file pattern; use one such as 'prompts/**/*.md'")
        parts = os.path.join(cwd, os.path.expanduser(pattern)).split(os.sep)
        fixed = list(itertools.takewhile(lambda part: not glob.has_magic(part), parts[:-1]))
        self._start = str(normalized(os.sep.join(fixed) or os.sep))
        self._parts = [part for part in parts[len(fixed) :] if part]

    def find(self, folders: set[str]) -> Iterator[str]:
        """Yield the matching regular files, and add the folders in which others may appear."""
        start, parts = self._start, self._parts
        while not os.path.isdir(start):
            start, name = os.path.split(start)
            parts = [glob.escape(name), *parts]
        waiting = [(start, _skipping(parts, {0}))]
        seen: set[tuple[int, int, frozenset[int]]] = set()
        while waiting and len(seen) < MOST_FOLDERS:
            folder, places = waiting.pop()
            try:
                status = os.stat(folder)
                entries = sorted(os.scandir(folder), key=lambda each: each.name)
            except OSError:
                continue
            if (key := (status.st_dev, status.st_ino, places)) in seen:
                continue
            seen.add(key)
            folders.add(folder)
            for entry in entries:
                reached = _step(parts, places, entry.name)
                if not reached or entry.name in NEVER_FOLLOWED:
                    continue
                try:
                    if entry.is_dir():
                        waiting.append((entry.path, reached))
                    elif entry.is_file() and len(parts) in reached:
                        yield entry.path
                except OSError:
                    continue


def _step(parts: Sequence[str], places: frozenset[int], name: str) -> frozenset[int]:
    """Return the positions in the pattern after one more name. `**` matches any number of folders."""
    reached = set()
    for place in places:
        if place == len(parts):
            continue
        if parts[place] == "**":
            reached |= {place} if not name.startswith(".") else set()
        elif fnmatch.fnmatchcase(name, parts[place]) and (name[0] != "." or parts[place][0] == "."):
            reached.add(place + 1)
    return _skipping(parts, reached)


def _skipping(parts: Sequence[str], places: set[int]) -> frozenset[int]:
    """Return these positions in the pattern. Add the next one after each `**`, since it may match nothing."""
    for place in sorted(places):
        while place < len(parts) and parts[place] == "**":
            place += 1
            places.add(place)
    return frozenset(places)


def _installed(path: str) -> bool:
    return not INSTALLED.isdisjoint(path.split(os.sep))


class Watch:
    """Watches folders while it is entered. `next()` also reports changes that came before the call."""

    def __init__(self, *, any_name: bool = False) -> None:
        """`any_name`: files of any name matter, not only modules and settings files."""
        self._filter: Callable[[Change, str], bool] | None = None if any_name else _matters
        self._folders: frozenset[Path] = frozenset()
        self._changed = asyncio.Event()
        self._stop = asyncio.Event()
        self._watching: set[asyncio.Task[None]] = set()
        self._error: OSError | None = None

    async def __aenter__(self) -> "Watch":
        return self

    async def __aexit__(self, *_: object) -> None:
        self._stop.set()
        while self._watching:
            await asyncio.gather(*self._watching, return_exceptions=True)

    def follow(self, folders: Iterable[Path]) -> None:
        """Watch these folders from now on, without their subfolders."""
        existing = frozenset(each for each in folders if each.is_dir())
        if existing == self._folders and self._watching:
            return
        self._folders = existing
        self._stop.set()
        self._stop = asyncio.Event()
        task = asyncio.create_task(self._watch(existing, self._stop), name="saves")
        self._watching.add(task)
        task.add_done_callback(self._watching.discard)

    async def next(self) -> None:
        """Wait until something may have changed since the last call.

        Raise OSError if watching failed. Call `follow` to watch again.
        """
        await self._changed.wait()
        self._changed.clear()
        if (error := self._error) is not None:
            self._error = None
            raise error

    async def _watch(self, folders: frozenset[Path], stop: asyncio.Event) -> None:
        self._changed.set()  # something may have changed between the old watch and this one
        try:
            async for _ in awatch(
                *folders,
                watch_filter=self._filter,
                step=STEP_MS,
                debounce=MOST_MS,
                stop_event=stop,
                rust_timeout=CHECK_MS,
                yield_on_timeout=True,
                recursive=False,
                ignore_permission_denied=True,
            ):
                self._changed.set()
        except Exception as error:  # the watch has ended, whatever the error: report it
            if stop is self._stop:
                self._error = OSError(str(error))
                self._changed.set()


def _matters(change: Change, path: str) -> bool:
    """Return whether a changed path may be a module, an environment or config file, or a folder."""
    name = Path(path).name
    return name.endswith((".py", ".toml", *SUFFIXES)) or name.startswith(".env") or "." not in name
