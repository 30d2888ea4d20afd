"""When a generation is loaded: at the start, at each save that matters, and when asked.

A load begins with the first sign of a save and is committed once it has been quiet for a moment; a later save
starts it over. Only content counts: what is the same again, or belongs to nothing that runs, does nothing.

A roll back loads what was kept of an earlier load and looks at no file: what counts as a save after it is
still what differs from the disk as it was last loaded.
"""

import asyncio
import contextlib
import functools
import itertools
import math
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from agent_tui.generations.diffs import difference
from agent_tui.generations.generations import Cause, Generations, Loading
from agent_tui.generations.history import History, Kept
from agent_tui.generations.loops import LoopBreaker
from agent_tui.generations.sources import Snapshot, Sources, differing
from agent_tui.generations.watch import Watch
from agent_tui.model import child as ch
from agent_tui.model.clock import Clock
from agent_tui.model.errors import UserError
from agent_tui.model.events import Notice, WatchingChanged
from agent_tui.model.logs import LogLevel
from agent_tui.processes.process import Emit
from agent_tui.runtimes.snapshots import Modules
from agent_tui.runtimes.threads import off_loop

QUIET_S = 0.03
"""A save is often several events (truncate, write, rename): what follows within this time belongs to it."""

PATIENCE_S = 5.0
"""How long saves may keep a load from being finished by starting it over."""

DYING_S = 0.1
"""For the processes of a load that was overtaken to be gone, and what they wrote to be seen."""

OVER = "agent-tui ends: nothing is loaded any more"
FAILED = "loading failed by an internal error; try again"

AGAIN_S = 1.0
LONGEST_AGAIN_S = 60.0
"""Pauses before a load whose processes could not start, or a watch that ended, is tried again."""

FRESH_S = 2.0
"""A file's own time says when it was saved, if it is not older than this."""


@dataclass(frozen=True, slots=True)
class _Asked:
    """Somebody waits for a load: of what is on disk, or of what was kept."""

    done: "asyncio.Future[bool]"
    kept: Kept | None = None


class _Appeared(UserError):
    """A module that was missing when the files were read was there when the agent's file imported it."""


class Reloads:
    """Runs one load at a time; `run()` goes on until it is cancelled."""

    def __init__(
        self,
        generations: Generations,
        sources: Sources,
        watch: Watch | None,
        *,
        read_environment: Callable[[], Awaitable[Mapping[str, str]]],
        packages: Callable[[], Sequence[Path]],
        take_changed_packages: Callable[[], Path | None],
        clock: Clock,
        emit: Emit,
        quiet_s: float = QUIET_S,
    ) -> None:
        """Without `watch` only `reload()` loads again.

        `read_environment` returns the agent's environment as its files are now. It may take seconds.
        """
        self._generations = generations
        self._sources = sources
        self._watch = watch
        self._read_environment = read_environment
        self._packages = packages
        self._take_changed_packages = take_changed_packages
        self._clock = clock
        self._emit = emit
        self._quiet_s = quiet_s
        self._breaker = LoopBreaker()
        self._paused = False
        self._stirred = asyncio.Event()
        self._stirred_at = 0.0
        self._began_at = self._loaded_at = 0.0
        """When the last load began, and when the last that came to its end did; unix time, as of files."""
        self._asked: list[_Asked] = []
        self._over = self._again = False
        self._again_s = AGAIN_S
        self._last: Snapshot | None = None
        """What was on disk at the last load of it, whether or not it went well."""
        self._served: Modules | None = None
        """The modules of the load that is under way, once it is known which."""
        self._history = History()
        self._back: Kept | None = None
        """What runs, while a roll back made that something else than what is on disk."""

    async def run(self) -> None:
        """Loads, and stays to load again. Who still waits for a load when it ends, hears that.

        It can be run again after an error: what is loaded stays so.
        """
        try:
            await self._run()
        except asyncio.CancelledError:
            self._over = True
            self._generations.stop()
            raise
        finally:
            for each in self._asked:
                if not each.done.done():
                    each.done.set_exception(UserError(OVER if self._over else FAILED))
            self._asked.clear()

    async def _run(self) -> None:
        async with contextlib.AsyncExitStack() as stack:
            if self._watch is not None:
                await stack.enter_async_context(self._watch)
                watching = asyncio.create_task(self._follow_watch(self._watch), name="saves")
                stack.push_async_callback(_cancelled, watching)
            if self._generations.current is None:
                await self._round("start")
            while True:
                await self._stirred.wait()
                self._stirred.clear()
                if self._asked:
                    await self._answer()
                elif self._again:
                    self._again = False
                    await self._round("start" if self._generations.current is None else "reload")
                elif not self._paused:
                    await self._round()

    async def reload(self) -> bool:
        """Loads now, whether or not anything changed; False when it does not load.

        Raises UserError when nothing is loaded any more.
        """
        if self._breaker.passed_over:
            self._breaker.forget()
            self._tell_watching()
        return await self._ask(None)

    async def roll_back(self, number: int) -> bool:
        """Loads what was kept of a generation as the next one; False when it does not load any more.

        Raises UserError if it is not kept, did not load, or is the one that serves; also when nothing is
        loaded any more.
        """
        kept = self._history.to_load(number)
        current = self._generations.current
        if current is not None and current.number == number:
            raise UserError(f"generation {number} is the one that serves")
        return await self._ask(kept)

    async def diff(self, number: int, against: int | None) -> str:
        """What changed from the load before, or from another one. Raises UserError if one is not kept."""
        before, after = self._history.pair(number, against)
        return await off_loop(difference, before, after, self._sources.folder)

    def pause(self, paused: bool) -> None:
        """Passes saves over until it is called with False; then loads what changed meanwhile."""
        self._paused = paused
        self._tell_watching()
        self._stirred.set()

    async def _follow_watch(self, watch: Watch) -> None:
        pause_s, failed_at = AGAIN_S, -math.inf
        while True:
            try:
                while True:
                    await watch.next()
                    self._stirred_at = self._clock.monotonic()
                    self._stirred.set()
            except OSError as error:
                now = self._clock.monotonic()
                if now - failed_at > 2 * LONGEST_AGAIN_S:  # and not the same trouble still
                    pause_s = AGAIN_S
                    text = f"saves cannot be seen ({error}): press r after a save until they are seen again"
                    self._emit(Notice(LogLevel.WARN, text))
                failed_at = now
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, LONGEST_AGAIN_S)
            self._watch_all()

    async def _ask(self, kept: Kept | None) -> bool:
        if self._over:
            raise UserError(OVER)
        done: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._asked.append(_Asked(done, kept))
        self._stirred.set()
        return await done

    async def _answer(self) -> None:
        """Loads what was asked for first, for all who asked for the same before anything else was."""
        wanted = self._asked[0].kept
        asked = list(itertools.takewhile(lambda each: each.kept is wanted, self._asked))
        del self._asked[: len(asked)]
        if self._asked:
            self._stirred.set()
        try:
            loaded = await (self._round("reload") if wanted is None else self._load_kept(wanted))
        except BaseException:
            self._asked += asked  # `run` tells them
            raise
        for each in asked:
            if not each.done.done():
                each.done.set_result(loaded)

    # -- one round ------------------------------------------------------------------------------------

    async def _round(self, forced: str = "") -> bool:
        """Loads what is on disk, from the start again as long as saves follow; False when that failed."""
        began, fresh = self._clock.monotonic(), not forced
        appeared = False
        while True:
            if self._breaker.counted and not forced:
                await self._hold()
                if self._asked or self._paused:  # somebody wants something else than this by now
                    self._stirred.set()
                    return True
            seen_at = self._clock.monotonic()
            snapshot = await self._read()
            self._watch_all()
            changed = self._changed(snapshot)
            if fresh:
                changed, fresh = self._judged(changed, snapshot), False
            packages = self._take_changed_packages()
            if not (forced or changed or packages):
                return True
            if self._back is not None and not (forced or changed):
                return await self._load_kept(self._back, str(packages))
            reading_since = self._clock.monotonic()
            environ = await self._read_environment()
            began += self._clock.monotonic() - reading_since  # the environment took that long, not saves
            if self._stirred.is_set() and not self._paused:
                # Load the modules as they are now, not as they were before a FIFO gave its content. The other
                # files stay as they were: one that was saved meanwhile may have been read before that.
                snapshot = replace(await self._read(), others=snapshot.others)
                self._watch_all()
                changed = self._changed(snapshot)
                if not (forced or changed or packages):
                    return True
            cause = replace(self._cause(forced, changed, packages, snapshot), seen_at=seen_at)
            self._served = None
            complete = functools.partial(self._complete, snapshot, again=not appeared)
            self._began_at = time.time()
            loading = self._generations.begin(environ, Modules(snapshot.modules), cause, complete)
            try:
                overtaken = await self._settle(loading, snapshot, began)
            except BaseException:
                await self._generations.discard(loading, "agent-tui ends")
                raise
            appeared = appeared or _appeared(loading)
            if overtaken or _appeared(loading):
                await self._generations.discard(loading)
                continue
            self._loaded_at = time.time()
            self._last = await self._loaded_from(snapshot)
            loaded = await self._generations.commit(loading)
            self._history.keep(Kept(loading.attempt.number, self._last, loaded))
            self._load_again_later(loading)
            if loaded:
                self._back = None
                await self._acquit_what_stayed()
            self._watch_all()
            return loaded

    async def _load_kept(self, kept: Kept, cause: str = "") -> bool:
        """Loads what was kept, beside what serves as ever; saves that come meanwhile are the next round's."""
        assert self._last is not None
        # The environment is the one of now.
        snapshot = replace(self._last, modules=kept.snapshot.modules, missing=kept.snapshot.missing)
        number = kept.back_to or kept.number
        is_on_disk = snapshot.modules.items() <= (await self._read()).modules.items()
        before = self._history.newest
        assert before is not None

        modules = Modules(snapshot.modules, snapshot.missing)

        async def unchanged(manifest: ch.Manifest) -> Modules:
            return modules

        environ = await self._read_environment()
        self._began_at = time.time()
        loading = self._generations.begin(
            environ,
            modules,
            Cause(
                cause or f"roll back to {number}",
                changed=tuple(str(path) for path in differing(before.snapshot, snapshot)),
                back_to=0 if is_on_disk else number,
            ),
            unchanged,
        )
        try:
            await asyncio.wait({loading.ready})
        except BaseException:
            await self._generations.discard(loading, "agent-tui ends")
            raise
        self._loaded_at = time.time()
        loaded = await self._generations.commit(loading)
        ran = self._history.keep(Kept(loading.attempt.number, snapshot, loaded, number))
        if loaded:
            self._back = None if is_on_disk else ran
        self._stirred.set()  # a save from before it, or from meanwhile, was not looked at
        return loaded

    async def _settle(self, loading: Loading, snapshot: Snapshot, began: float) -> bool:
        """Waits until it is loaded and quiet; True when a later save made it worthless first."""
        while True:
            loaded = loading.ready.done()
            quiet_in = self._stirred_at + self._quiet_s - self._clock.monotonic()
            if loaded and quiet_in <= 0:
                return False
            stirred = asyncio.create_task(self._stirred.wait())
            waits: set[asyncio.Future[Any]] = {stirred} if loaded else {stirred, loading.ready}
            try:
                await asyncio.wait(
                    waits,
                    timeout=max(quiet_in, 0) if loaded else None,
                    return_when=asyncio.FIRST_COMPLETED,
                )
            finally:
                stirred.cancel()
            if not self._stirred.is_set():
                continue
            impatient = self._clock.monotonic() - began > PATIENCE_S
            if self._asked or impatient or self._generations.serves(loading):
                # Whatever came now gets its own round: this one is finished first.
                await asyncio.wait({loading.ready})
                return False
            self._stirred.clear()
            if not self._paused and self._noted_in_load(await self._differs(snapshot)):
                return True

    async def _hold(self) -> None:
        """Loads nothing for a while if only suspects changed: what changes in it, somebody else changes."""
        if not (hold_s := self._breaker.hold_s(self._changed(await self._read()))):
            return
        await asyncio.sleep(DYING_S)
        before, until = await self._read(), self._clock.monotonic() + hold_s
        while (left := until - self._clock.monotonic()) > 0 and not self._asked:
            self._stirred.clear()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(left):
                    await self._stirred.wait()
            if saved := await self._differs(before):
                self._breaker.acquit(saved)
                return

    def _load_again_later(self, loading: Loading) -> None:
        """After a load that says nothing about the code: its processes could not be started."""
        if not loading.could_not_start:
            self._again_s = AGAIN_S
            return

        def again() -> None:
            self._again = True
            self._stirred.set()

        asyncio.get_running_loop().call_later(self._again_s, again)
        self._again_s = min(2 * self._again_s, LONGEST_AGAIN_S)

    # -- what changed ---------------------------------------------------------------------------------

    async def _read(self) -> Snapshot:
        return await off_loop(self._sources.read)

    def _changed(self, snapshot: Snapshot) -> tuple[Path, ...]:
        if self._last is None:
            return ()
        return self._counted(differing(self._last, snapshot))

    async def _differs(self, snapshot: Snapshot) -> tuple[Path, ...]:
        return self._counted(await off_loop(self._sources.changed, snapshot))

    def _counted(self, paths: Iterable[Path]) -> tuple[Path, ...]:
        return tuple(sorted(each for each in paths if each not in self._breaker.passed_over))

    def _judged(self, changed: tuple[Path, ...], snapshot: Snapshot) -> tuple[Path, ...]:
        """Those that count of what is found changed while nothing is loaded: by the last load, or since."""
        # What was written before the last load was over, probably that load itself wrote.
        by_load = [each for each in changed if snapshot.written.get(str(each), math.inf) <= self._loaded_at]
        self._breaker.acquit(set(changed).difference(by_load))
        return self._noted(changed, by_load, self._loaded_at - self._began_at)

    def _noted_in_load(self, changed: tuple[Path, ...]) -> tuple[Path, ...]:
        return self._noted(changed, changed, time.time() - self._began_at)

    async def _acquit_what_stayed(self) -> None:
        """A load is over: what is as it was loaded, loading does not rewrite."""
        if counted := self._breaker.counted:
            self._breaker.acquit(counted.difference(self._changed(await self._read())))

    def _noted(self, changed: tuple[Path, ...], by_load: Iterable[Path], after_s: float) -> tuple[Path, ...]:
        """Those of the changes that count; one that each load makes anew does not for ever."""
        over = self._breaker.note(by_load, after_s)
        if over:
            names = ", ".join(str(each) for each in sorted(over))
            text = (
                f"{names} changes each time the agent is loaded: its saves are passed over until you reload"
            )
            self._emit(Notice(LogLevel.WARN, text))
            self._tell_watching()
        return tuple(each for each in changed if each not in over)

    def _cause(
        self, forced: str, changed: tuple[Path, ...], packages: Path | None, snapshot: Snapshot
    ) -> Cause:
        names = tuple(map(str, self._since_the_load_before(changed, snapshot)))
        if forced:
            return Cause(forced, None, names)
        saved_at = self._saved_at(changed, snapshot)
        return Cause(str(changed[0] if changed else packages), saved_at, names)

    def _since_the_load_before(self, changed: tuple[Path, ...], snapshot: Snapshot) -> tuple[Path, ...]:
        """What differs from it, when `changed` is what differs from the disk as it was last loaded."""
        before = self._history.newest
        if before is None or not before.back_to:
            return changed
        return differing(before.snapshot, snapshot)

    def _saved_at(self, changed: tuple[Path, ...], snapshot: Snapshot) -> float:
        """When the last of them was saved, by the clock that counts from then on."""
        written = [snapshot.written[str(path)] for path in changed if str(path) in snapshot.written]
        age = time.time() - max(written, default=0.0)
        return self._clock.monotonic() - age if 0 <= age < FRESH_S else self._stirred_at

    # -- what is learned ------------------------------------------------------------------------------

    async def _complete(self, snapshot: Snapshot, manifest: ch.Manifest, *, again: bool) -> Modules:
        """The modules with those that only loading showed to belong to the agent.

        Raises _Appeared, if it may load `again`: what was loaded may be two versions.
        """
        now = await off_loop(self._learned_and_read, manifest)
        new = now.modules.keys() - snapshot.modules.keys()
        late = {path for path in new if _stem(path) in snapshot.missing}
        loaded = late.intersection(manifest.files)
        if loaded and again:
            raise _Appeared(f"{min(loaded)} appeared while the agent's file was loaded")
        # What was saved since and is not loaded yet belongs to the next generation, and never to this one.
        found = {path: each for path, each in now.modules.items() if path not in late or path in loaded}
        contents = {**found, **snapshot.modules}
        missing = (snapshot.missing | now.missing).difference(map(_stem, contents))
        self._served = Modules(contents, missing)
        return self._served

    def _learned_and_read(self, manifest: ch.Manifest) -> Snapshot:
        self._sources.learn(manifest.roots, manifest.files)
        return self._sources.read()

    async def _loaded_from(self, snapshot: Snapshot) -> Snapshot:
        """What it was given; for one that did not load also what there is by now."""
        if self._served is not None:
            return replace(snapshot, modules=self._served.contents, missing=self._served.missing)
        return replace(snapshot, modules={**(await self._read()).modules, **snapshot.modules})

    def _watch_all(self) -> None:
        if self._watch is not None:
            self._watch.follow(self._sources.folders | frozenset(self._packages()))

    def _tell_watching(self) -> None:
        passed_over = tuple(str(each) for each in sorted(self._breaker.passed_over))
        self._emit(WatchingChanged(self._paused, passed_over))


def _appeared(loading: Loading) -> bool:
    ready = loading.ready
    return ready.done() and not ready.cancelled() and isinstance(ready.exception(), _Appeared)


def _stem(path: str) -> str:
    """A module's path without suffix, a package's without `__init__.py`."""
    return path.removesuffix("/__init__.py").removesuffix(".py")


async def _cancelled(task: "asyncio.Task[None]") -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
