"""The base process that an agent's processes are forked from: what it imports, and when it is replaced.

A base has imported installed packages and no code of the project (design §5.2). Another base starts beside it
and replaces it once ready when installed packages change, when a variable changes that an imported module has
read, or when a plugin is no longer imported. Missing modules are imported into the running base.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from agent_tui.model import child as ch
from agent_tui.model.events import Notice
from agent_tui.model.logs import LogLevel
from agent_tui.model.wording import duration_text
from agent_tui.processes.process import ProcessFailed, SupervisedProcess, Supervisor
from agent_tui.processes.timings import BackOff

LaunchBase = Callable[[str, Mapping[str, str], Sequence[str]], Awaitable[ch.Child]]
"""Starts a base, given its process id, environment, and modules to import. Raises OSError on failure."""

READ_BY_NATIVE_CODE = [
    "OPENBLAS_",
    "OMP_",
    "MKL_",
    "ORT_",
    "GRPC_",
    "MALLOC_",
    "RUST_LOG",
    "LD_",
    "SSL_",
    "PYTHON",
    "LANG",
    "LC_",
    "TZ",
    "CUDA_",
    "NVIDIA_",
]
"""Prefixes of variables that native code reads without Python noticing it (fork.md §4)."""

PLUGINS = "livekit.plugins."
"""Prefix of the plugins. An imported plugin registers itself permanently."""

FREE_MEMORY_AFTER_S = 5.0
"""Seconds before a base frees memory. That takes up to a second, during which the base cannot fork."""

FORKS = "forks"
"""The value of `Notice.about` for notices about forking."""

MOST_DEATHS = 3
DEATHS_WINDOW_S = 60.0
"""If this many bases die within this time, forking pauses, and processes start as fresh interpreters."""


@dataclass(slots=True, eq=False)
class Base:
    """One base process and what is known about it."""

    process: SupervisedProcess
    environ: Mapping[str, str]
    asked: set[str] = field(default_factory=set)
    modules: set[str] = field(default_factory=set)
    packages: dict[Path, int] = field(default_factory=dict)
    report: ch.BaseReport | None = None
    prepared: asyncio.Event = field(default_factory=asyncio.Event)
    """Set once the base has imported what job processes need. Control processes do not wait for that."""
    outdated: str = ""
    """Why the base must be replaced; empty while it can be used."""

    @property
    def child(self) -> ch.Child | None:
        """The process to fork from; None unless it is running."""
        ready = self.process.ready
        up = ready.done() and not ready.exception() and not self.process.ended.done()
        return self.process.child if up else None

    def fits(self, environ: Mapping[str, str]) -> bool:
        """Return whether processes with this environment can be forked from it.

        They can if the variables that its modules have read have the same values.
        """
        return not any(
            self.environ.get(key) != environ.get(key)
            for key in {*self.environ, *environ}
            if key in self.asked or key.startswith(tuple(READ_BY_NATIVE_CODE))
        )


class Bases:
    """Owns the base processes: the current one, and another while it starts."""

    def __init__(
        self,
        supervisor: Supervisor,
        launch: LaunchBase,
        *,
        sdk: Sequence[str],
        warm_up: Sequence[str],
        imports: Sequence[str] = (),
        impossible: str = "",
        free_memory_after_s: float = FREE_MEMORY_AFTER_S,
        back_off: BackOff | None = None,
    ) -> None:
        """A base imports `sdk`, and `imports` except for modules that make it unsafe to fork.

        It imports `warm_up` after the control process is forked from it. `impossible` says why nothing can be
        forked; empty if forking is possible.
        """
        self._impossible = impossible
        self._paused = ""
        """Why forking is paused; empty if it is not."""
        self._pauses = 0
        """How many pauses followed each other without a base in between that lived for `DEATHS_WINDOW_S`."""
        self._back_off = back_off or BackOff(first_s=10.0)
        self._environ: Mapping[str, str] = {}
        """The environment of the last load."""
        self._launch = launch
        self._sdk = tuple(sdk)
        self._warm_up = tuple(warm_up)
        self._supervisor = supervisor
        self._clock = supervisor.clock
        self._emit = supervisor.emit
        self._free_memory_after_s = free_memory_after_s
        self._imports = tuple(imports)
        self._excluded: set[str] = set()
        self._current: Base | None = None
        self._all: dict[Base, asyncio.Task[None]] = {}
        self._one_at_a_time = asyncio.Lock()
        self._background: set[asyncio.Task[object]] = set()
        self._number = 0
        self._deaths: list[float] = []
        """The monotonic times at which the last bases died."""
        self._closing = False

    @property
    def processes(self) -> tuple[SupervisedProcess, ...]:
        return tuple(base.process for base in self._all)

    @property
    def impossible(self) -> str:
        """Why nothing is forked now; empty if forks work."""
        return self._impossible or self._paused

    @property
    def packages(self) -> tuple[Path, ...]:
        """Folders of installed packages, to watch."""
        return tuple(self._current.packages) if self._current else ()

    async def get(self, environ: Mapping[str, str]) -> Base | None:
        """Return a base that fits this environment; start one if there is none. None if forking is
        impossible.
        """
        self._environ = environ
        return await self._get(environ)

    async def _get(self, environ: Mapping[str, str]) -> Base | None:
        async with self._one_at_a_time:
            while not (self.impossible or self._closing):
                base = self._current
                if base is not None and base.child is not None and not base.outdated and base.fits(environ):
                    return base
                fresh = await self._start(environ)
                if fresh is not None:
                    self._take_over(fresh)
            return None

    def parents(self, environ: Mapping[str, str]) -> tuple[ch.Child, ...]:
        """Return the processes from which a child with these variables can be forked now; empty if none."""
        base = self._current
        child = base.child if base is not None and base.fits(environ) else None
        return (child,) if child is not None else ()

    def warm_up(self, base: Base) -> None:
        """Import the additional modules that job processes need. This takes up to half a second, during which
        the base cannot fork: call it after forking the control process, which does not need them.
        """
        self._import(base, self._warm_up)
        if not self._warm_up:
            base.prepared.set()

    def learn(self, imports: Sequence[str]) -> None:
        """Remember which installed modules the project imports, and import into the base those it lacks."""
        self._imports = tuple(imports)
        base = self._current
        if base is None:
            return
        if any(name.startswith(PLUGINS) and name not in imports for name in base.modules):
            self._replace(base, "a plugin is no longer imported")
            return
        missing = [name for name in imports if name not in base.modules and name not in self._excluded]
        self._import(base, missing)

    def hold(self, name: str) -> None:
        """Import something large into the current base and later ones, so that all processes share it."""
        if name not in self._warm_up:
            self._warm_up += (name,)
            if self._current is not None:
                self._import(self._current, [name])

    def share_code(self, modules: Sequence[Mapping[str, str]]) -> None:
        """Pass code that a child compiled to the base."""
        if self._current is not None:
            self._current.process.send(ch.KeepCode(tuple(modules)))

    def pop_changed_packages(self) -> Path | None:
        """Return a folder of installed packages that has changed since the base started, or None.

        A change marks the base as outdated. An outdated base is not checked again.
        """
        base = self._current
        if base is None or base.outdated:
            return None
        changed = next((path for path, seen in base.packages.items() if _changed_at(path) != seen), None)
        if changed is not None:
            base.outdated = f"{changed} changed"
        return changed

    def kill(self, reason: str) -> None:
        """End all bases now."""
        self._closing = True
        for base in self._all:
            base.process.kill(reason)

    async def close(self, reason: str) -> None:
        """End all bases; processes forked from them continue."""
        self._closing = True
        for task in self._background:
            task.cancel()
        for base in tuple(self._all):
            base.process.shutdown(reason)
        await asyncio.gather(*self._background, *self._all.values(), return_exceptions=True)

    # -- one base -------------------------------------------------------------------------------------

    async def _start(self, environ: Mapping[str, str]) -> Base | None:
        """Start a base, and return it once it is ready.

        Return None if it fails to start or is unsafe to fork, and record why.
        """
        modules = [*self._sdk, *(name for name in self._imports if name not in self._excluded)]
        self._number += 1
        process = SupervisedProcess(
            self._supervisor,
            f"b{self._number}",
            ch.ProcessKind.BASE,
            0,
            launch=lambda kind, process_id: self._launch(process_id, environ, modules),
            relay=self._on_message,
        )
        base = Base(process, environ, modules=set(modules))
        self._all[base] = asyncio.create_task(self._live(base), name=f"base {process.id}")
        try:
            await asyncio.shield(process.ready)
        except ProcessFailed as error:
            self._died(
                f"the base process failed to start: {error}", most=1 if error.is_codes_fault else MOST_DEATHS
            )
            return None
        report = base.report
        if report is not None and report.unsafe:
            process.shutdown(report.unsafe)
            self._exclude(report.module, report.unsafe)
            return None
        return base

    async def _live(self, base: Base) -> None:
        started_at = self._clock.monotonic()
        try:
            await base.process.run()
        finally:
            del self._all[base]
            base.prepared.set()
            if self._current is base and not self._closing and base.process.ended.done():
                self._current = None
                if self._clock.monotonic() - started_at >= DEATHS_WINDOW_S:
                    self._pauses = 0
                self._died(f"the base process keeps exiting: {base.process.ended.result().reason}")
                self._later(self._renew(base.environ))

    def _died(self, why: str, most: int = MOST_DEATHS) -> None:
        """Count a base that died or failed to start. Too many of them in a short time pause forking."""
        now = self._clock.monotonic()
        self._deaths = [*(each for each in self._deaths if now - each < DEATHS_WINDOW_S), now]
        if len(self._deaths) < most or self._closing:
            return
        self._deaths.clear()
        self._pauses += 1
        pause = self._back_off.after(self._pauses + 1)
        if self._pauses == 1:
            then = f"starting fresh interpreters, retrying forks in {duration_text(pause)}"
            self._emit(Notice(LogLevel.WARN, why, FORKS, then))
        self._paused = why
        self._later(self._resume(pause))

    async def _resume(self, pause_s: float) -> None:
        """Try to start a base again; if it fails, `_died` schedules the next attempt."""
        await asyncio.sleep(pause_s)
        before, self._paused = self._paused, ""
        if await self._renew(self._environ) is not None:
            self._emit(Notice(LogLevel.INFO, f"forking works again (was: {before})", FORKS))

    async def _renew(self, environ: Mapping[str, str]) -> Base | None:
        """Get a base between two loads, so that the next processes can be forked from it."""
        base = await self._get(environ)
        if base is not None:
            self.warm_up(base)
        return base

    def _take_over(self, base: Base) -> None:
        before, self._current = self._current, base
        if before is not None:
            before.process.shutdown("another base replaced it")

    def _replace(self, base: Base, why: str) -> None:
        base.outdated = why
        self._later(self._renew(base.environ))

    def _exclude(self, module: str, why: str) -> None:
        """Exclude a module that makes bases unsafe to fork. If it belongs to the SDK, never fork again."""
        if module and module not in self._sdk:
            self._excluded.add(module)
            self._warm_up = tuple(name for name in self._warm_up if name != module)
        else:
            self._impossible = why

    def _import(self, base: Base, names: Iterable[str]) -> None:
        missing = tuple(name for name in names if name not in base.modules)
        if missing:
            base.modules.update(missing)
            base.process.send(ch.ImportModules(missing))

    def _on_message(self, process: SupervisedProcess, message: ch.FromChild) -> None:
        base = next((each for each in self._all if each.process is process), None)
        match message:
            case ch.BaseReport() if base is not None:
                base.report = message
                base.asked.update(message.asked)
                base.packages = {Path(each): _changed_at(Path(each)) for each in message.packages}
            case ch.Imported() if base is not None:
                base.asked.update(message.asked)
                base.prepared.set()
                if message.unsafe:
                    self._exclude(message.module, message.unsafe)
                    self._replace(base, message.unsafe)
                else:
                    asyncio.get_running_loop().call_later(
                        self._free_memory_after_s, process.send, ch.FreeMemory()
                    )
            case _:
                pass

    def _later(self, work: Awaitable[object]) -> None:
        task: asyncio.Task[object] = asyncio.ensure_future(work)
        self._background.add(task)
        task.add_done_callback(self._background.discard)


def _changed_at(folder: Path) -> int:
    try:
        return folder.stat().st_mtime_ns
    except OSError:
        return 0
