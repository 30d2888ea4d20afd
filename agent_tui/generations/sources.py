"""Which files a generation is made of, what is in them now, and where to look for changes.

Modules are followed from the agent's file over all that is imported anywhere in it, functions included, so
that a file nobody imports does nothing when it is saved. What only running shows, the manifest tells.
"""

import glob
import hashlib
import itertools
import os
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from agent_tui.generations.mentions import Mention, mentions
from agent_tui.model.errors import UserError
from agent_tui.options.configfile import NAME as CONFIG
from agent_tui.options.envfiles import project_root

MOST_MODULES = 5000
MOST_FOLDERS = 2000
RACY_S = 2.0
"""A file this young may change again without a new time; it is read each time, as git does it."""

MOST_DIGESTED = 8 * 2**20
"""Bytes of a watched file beyond which its time and size stand for its content: reading it would be felt."""

_Stamp = tuple[int, int, int]

_NEVER = frozenset({"site-packages", "dist-packages", "node_modules", "__pycache__", "venv"})


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Content by absolute path: `modules` as the import system spells them, `others` as digests."""

    modules: Mapping[str, bytes]
    others: Mapping[str, bytes]


@dataclass(frozen=True, slots=True)
class _File:
    """A file as it was read. `stamp` is None while it is too young to be trusted."""

    stamp: _Stamp | None
    content: bytes
    mentions: tuple[Mention, ...] = ()


class Sources:
    """The files of one agent."""

    def __init__(
        self, agent: Path, *, cwd: Path, globs: Sequence[str] = (), roots: Sequence[str] = ()
    ) -> None:
        """`roots` are further entries of the agent's `sys.path`. Raises UserError for a bad pattern."""
        self._agent = str(agent.absolute())
        first = os.path.dirname(os.path.realpath(agent))
        self._roots: dict[str, None] = {first: None}
        self._learned: dict[str, None] = {}
        self._globs = [_checked(pattern, cwd) for pattern in globs]
        env_folders = (Path(first), project_root(agent), cwd.resolve())
        self._env_folders = tuple(dict.fromkeys(str(each) for each in env_folders if each is not None))
        self._cache: dict[str, _File] = {}
        self._digests: dict[str, tuple[_Stamp | None, bytes]] = {}
        self._listings: dict[str, tuple[int | None, frozenset[str]]] = {}
        self._folders: set[str] = set()
        self.learn(roots, ())

    def learn(self, roots: Iterable[str], files: Iterable[str]) -> None:
        """Takes what a loaded generation showed: folders that it imports from, files that it imported."""
        self._roots |= dict.fromkeys(each for each in roots if os.path.isabs(each) and not _installed(each))
        self._learned |= dict.fromkeys(each for each in files if not _installed(each))

    def read(self) -> Snapshot:
        """What is on disk now."""
        self._folders = {*self._roots, *self._env_folders}
        modules: dict[str, bytes] = {}
        waiting = [self._agent, *self._learned]
        seen = set(waiting)
        while waiting and len(modules) < MOST_MODULES:
            path = waiting.pop()
            file = self._file(path)
            if file is None:
                continue
            modules[path] = file.content
            for each in self._candidates(path, file.mentions):
                if each not in seen:
                    seen.add(each)
                    waiting.append(each)
        others = {path: self._digest(path) for path in self._other_files() if path not in modules}
        return Snapshot(modules, others)

    def changed(self, since: Snapshot) -> tuple[Path, ...]:
        """Files that differ now, new and deleted ones too, sorted."""
        return differing(since, self.read())

    @property
    def folder(self) -> str:
        """That of the agent's file."""
        return os.path.dirname(self._agent)

    @property
    def folders(self) -> frozenset[Path]:
        """Folders in which a change can matter, each to be watched by itself."""
        return frozenset(Path(each) for each in self._folders if os.path.isdir(each))

    @property
    def any_name(self) -> bool:
        """Whether files of any name can matter, and not only modules and environment files."""
        return bool(self._globs)

    # -- modules --------------------------------------------------------------------------------------

    def _candidates(self, importer: str, wanted: Iterable[Mention]) -> Iterator[str]:
        for each in wanted:
            if each.level:
                folder = os.path.dirname(importer)
                for _ in range(each.level - 1):
                    folder = os.path.dirname(folder)
                yield from self._under(folder, each.parts)
            else:
                for root in self._roots:
                    yield from self._under(root, each.parts)

    def _under(self, folder: str, parts: Sequence[str]) -> Iterator[str]:
        """The files that importing `a.b.c` from a folder runs, or would if they were there."""
        for part in parts:
            self._folders.add(folder)
            names = self._listing(folder)
            if part + ".py" in names:
                yield os.path.join(folder, part + ".py")
            if part not in names or part in _NEVER:
                return
            folder = os.path.join(folder, part)
            self._folders.add(folder)
            if "__init__.py" in self._listing(folder):
                yield os.path.join(folder, "__init__.py")

    def _listing(self, folder: str) -> frozenset[str]:
        """Names in a folder; none if it is not one."""
        try:
            stamp: int | None = os.stat(folder).st_mtime_ns
        except OSError:
            return frozenset()
        kept = self._listings.get(folder)
        if kept is not None and kept[0] == stamp:
            return kept[1]
        try:
            names = frozenset(os.listdir(folder))
        except OSError:
            names = frozenset()
        young = stamp is not None and time.time() - stamp / 1e9 < RACY_S
        self._listings[folder] = (None if young else stamp, names)
        return names

    def _file(self, path: str) -> _File | None:
        """A file's content, read again if it may have changed; None if it cannot be read."""
        try:
            status = os.stat(path)
            stamp = _stamp(status)
            kept = self._cache.get(path)
            if kept is None or kept.stamp != stamp:
                content = Path(path).read_bytes()
                same = kept is not None and kept.content == content
                found = kept.mentions if same and kept else mentions(content)
                kept = self._cache[path] = _File(None if _is_young(status) else stamp, content, found)
        except OSError:
            self._cache.pop(path, None)
            return None
        target = os.path.realpath(path)
        if target != path:
            self._folders.add(os.path.dirname(target))
        self._folders.add(os.path.dirname(path))
        return kept

    # -- other files ----------------------------------------------------------------------------------

    def _other_files(self) -> Iterator[str]:
        for folder in self._env_folders:
            for name in self._listing(folder):
                if is_settings_file(name):
                    yield os.path.join(folder, name)
        for pattern in self._globs:
            self._folders.update(_folders_of(pattern))
            for path in glob.iglob(pattern, recursive=True):
                if _NEVER.isdisjoint(path.split(os.sep)) and os.path.isfile(path):
                    yield path

    def _digest(self, path: str) -> bytes:
        """What a file's content comes to, read again if it may have changed; empty if it cannot be read."""
        try:
            status = os.stat(path)
            stamp = _stamp(status)
            if status.st_size > MOST_DIGESTED:
                return repr(stamp).encode()
            kept = self._digests.get(path)
            if kept is None or kept[0] != stamp:
                digest = hashlib.sha1(Path(path).read_bytes(), usedforsecurity=False).digest()
                kept = self._digests[path] = (None if _is_young(status) else stamp, digest)
        except OSError:
            self._digests.pop(path, None)
            return b""
        return kept[1]


def _stamp(status: os.stat_result) -> _Stamp:
    return status.st_mtime_ns, status.st_size, status.st_ino


def _is_young(status: os.stat_result) -> bool:
    return time.time() - status.st_mtime < RACY_S


def differing(before: Snapshot, now: Snapshot) -> tuple[Path, ...]:
    """Paths whose content is not the same in both, sorted."""
    old, new = {**before.modules, **before.others}, {**now.modules, **now.others}
    return tuple(sorted(Path(path) for path in {*old, *new} if old.get(path) != new.get(path)))


def is_settings_file(name: str) -> bool:
    """`.env`, `.env.local` and `agent-tui.toml`, not `.envrc`."""
    return name in (".env", CONFIG) or name.startswith(".env.")


def _checked(pattern: str, cwd: Path) -> str:
    if not pattern.strip() or "\0" in pattern:
        raise UserError(f"--watch: {pattern!r} names no files; give a pattern such as 'prompts/**/*.md'")
    return os.path.join(cwd, os.path.expanduser(pattern))


def _folders_of(pattern: str) -> Iterator[str]:
    """All folders at or below the part of a pattern that has no wildcard."""
    prefix = pattern
    while glob.has_magic(prefix) or not os.path.isdir(prefix):
        prefix = os.path.dirname(prefix)
    if not glob.has_magic(pattern):
        yield prefix
        return
    for folder, names, _ in itertools.islice(os.walk(prefix), MOST_FOLDERS):
        names[:] = [name for name in names if name not in _NEVER and not name.startswith(".")]
        yield folder


def _installed(path: str) -> bool:
    return not {"site-packages", "dist-packages"}.isdisjoint(path.split(os.sep))
