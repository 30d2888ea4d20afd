"""Decides when to load a generation: at the start, at each relevant save, and on request.

A load starts at the first event of a save and switches once no event has come for a moment; a later save
cancels it and starts the next one. Only content counts: a save that changes nothing, or only files that the
agent does not use, has no effect.

A rollback loads the kept modules of an earlier load and reads no file. Later saves are still compared with
the files as they were last loaded from disk.
"""

import asyncio
import contextlib
import itertools
import math
import os
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from agent_tui.files import shown_path
from agent_tui.generations.bases import Bases
from agent_tui.generations.diffs import difference
from agent_tui.generations.generation import Cause, Source
from agent_tui.generations.history import Loaded
from agent_tui.generations.load import Loader
from agent_tui.generations.sources import Appeared, Snapshot, Sources, Watch, differing
from agent_tui.model.clock import Clock
from agent_tui.model.errors import UserError
from agent_tui.model.events import Notice, WatchingChanged
from agent_tui.model.logs import LogLevel
from agent_tui.options.envfiles import Environment
from agent_tui.processes.process import Emit
from agent_tui.runtimes.threads import off_loop

QUIET_S = 0.03
"""A save is often several events (truncate, write, rename): events within this time belong to one save."""

PATIENCE_S = 5.0
"""How long saves may keep restarting a load before it is finished anyway."""

OVERTAKEN = "a later save overtook it"
STOPPING = "agent-tui is stopping and loads no more code"
LOAD_FAILED = "internal error while loading; try again"

RETRY_S = 1.0
LONGEST_RETRY_S = 60.0
"""Shortest and longest pause before another attempt, if processes failed to start or a watch ended."""

WORKS_S = 3.0
"""A restarted watch counts as working if it still reports this long after it was restarted, in s.

A watch reports every second (`CHECK_MS`) even if no file changed.
"""

WATCH = "file watching"

FRESH_S = 2.0
"""A file's modification time counts as the time of the save if it is no older than this, in s."""


@dataclass(frozen=True, slots=True)
class _Request:
    """A caller waiting for a load: of the files on disk, or of a kept load."""

    done: "asyncio.Future[bool]"
    kept: Loaded | None = None


class Reloader:
    """Runs one load at a time; `run()` continues until it is cancelled."""

    def __init__(
        self,
        loader: Loader,
        sources: Sources,
        watch: Watch | None,
        bases: Bases,
        *,
        read_environment: Callable[[], Awaitable[Environment]],
        clock: Clock,
        emit: Emit,
        quiet_s: float = QUIET_S,
    ) -> None:
        """Without `watch`, only `reload()` loads again.

        `read_environment` returns the current environment files and config file. It may take seconds.
        """
        self._loader = loader
        self._sources = sources
        self._watch = watch
        self._bases = bases
        self._read_environment = read_environment
        self._clock = clock
        self._emit = emit
        self._quiet_s = quiet_s
        self._flaps = FlapDetector()
        self._paused = False
        self._wake = asyncio.Event()
        """Set when something may have changed on disk, or was requested."""
        self._changed_at = 0.0
        """The monotonic time at which the watch last reported something."""
        self._quiet = asyncio.Event()
        """Passed to the running load: set while the watch has reported nothing for `quiet_s`."""
        self._requests: list[_Request] = []
        self._stopped = self._retry = False
        self._retry_s = RETRY_S
        self._last: Snapshot | None = None
        """The files on disk at the last load from disk, successful or not."""
        self._history = loader.history
        self._rolled_back_load: Loaded | None = None
        """The load that is current after a rollback; None if the current code is that on disk."""

    # -- for the engine -------------------------------------------------------------------------------

    async def run(self) -> None:
        """Load the agent, then load it again whenever there is a reason to.

        Callers that still wait when it ends get a UserError. After an error it can be run again, and keeps
        what is loaded.
        """
        try:
            await self._run()
        except asyncio.CancelledError:
            self._stopped = True
            self._loader.stop()
            raise
        finally:
            for each in self._requests:
                if not each.done.done():
                    each.done.set_exception(UserError(STOPPING if self._stopped else LOAD_FAILED))
            self._requests.clear()

    async def reload(self) -> bool:
        """Load the files now, even if nothing changed. Return False if they do not load.

        Raise UserError if agent-tui is stopping, or after an internal error.
        """
        if self._flaps.ignored:
            self._flaps.forget()
            self._report_watching()
        return await self._request(None)

    async def roll_back(self, number: int) -> bool:
        """Load the code of an earlier generation as the next one. Return False if it no longer loads.

        Raise UserError if that generation is not kept, failed to load, or is current, if agent-tui is
        stopping, or after an internal error.
        """
        kept = self._history.loadable(number)
        current = self._loader.current
        if current is not None and current.number == number:
            raise UserError(f"generation {number} is already current")
        return await self._request(kept)

    async def diff(self, number: int, against: int | None) -> str:
        """Return the changes from the previous load, or from `against`, as a unified diff.

        Raise UserError if one of the two loads is not kept.
        """
        before, after = self._history.pair(number, against)
        return await off_loop(difference, before, after, self._sources.folder)

    def pause(self, paused: bool) -> None:
        """Ignore saves until this is called with False. Then load the files that changed in between."""
        self._paused = paused
        self._report_watching()
        self._wake.set()

    async def _request(self, kept: Loaded | None) -> bool:
        if self._stopped:
            raise UserError(STOPPING)
        done: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._requests.append(_Request(done, kept))
        self._wake.set()
        return await done

    # -- the loop -------------------------------------------------------------------------------------

    async def _run(self) -> None:
        async with contextlib.AsyncExitStack() as stack:
            if self._watch is not None:
                await stack.enter_async_context(self._watch)
                watching = asyncio.create_task(self._follow_watch(self._watch), name="saves")
                stack.push_async_callback(_cancelled, watching)
            if self._loader.current is None:
                await self._load_disk("start")
            while True:
                await self._wake.wait()
                self._wake.clear()
                if self._requests:
                    await self._answer()
                elif self._retry:
                    self._retry = False
                    await self._load_disk("start" if self._loader.current is None else "reload")
                elif not self._paused:
                    await self._load_disk()

    async def _follow_watch(self, watch: Watch) -> None:
        pause_s, failed_at, is_failing = RETRY_S, -math.inf, False
        while True:
            try:
                while True:
                    await watch.next()
                    if is_failing and self._clock.monotonic() - failed_at > pause_s + WORKS_S:
                        is_failing = False
                        self._emit(Notice(LogLevel.INFO, "file watching works again", WATCH))
                    self._changed_at = self._clock.monotonic()
                    self._quiet.clear()
                    self._wake.set()
            except OSError as error:
                now = self._clock.monotonic()
                if not is_failing:
                    pause_s, is_failing = RETRY_S, True
                    text = f"saves are not noticed: file watching failed ({error})"
                    self._emit(Notice(LogLevel.WARN, text, WATCH, _watch_advice(error)))
                failed_at = now
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, LONGEST_RETRY_S)
            self._watch_all()

    async def _answer(self) -> None:
        """Serve the first request, and those after it that ask for the same load."""
        wanted = self._requests[0].kept
        requests = list(itertools.takewhile(lambda each: each.kept is wanted, self._requests))
        del self._requests[: len(requests)]
        if self._requests:
            self._wake.set()
        try:
            loaded = await (self._load_disk("reload") if wanted is None else self._load_kept(wanted))
        except BaseException:
            self._requests += requests  # `run` fails them
            raise
        for each in requests:
            if not each.done.done():
                each.done.set_result(loaded)

    # -- loading from disk ----------------------------------------------------------------------------

    async def _load_disk(self, forced: str = "") -> bool:
        """Load the files on disk, and repeat that while later saves overtake it. Return False if it fails.

        `forced` is the cause of a load that happens even if no file changed.
        """
        started_at, accept_new = self._clock.monotonic(), False
        while True:
            seen_at = self._clock.monotonic()
            snapshot = await self._read()
            changed = self._changed(snapshot)
            if (pause_s := self._flaps.pause_s(changed, snapshot.written)) and not forced:
                await self._pause_for(pause_s)
                if self._requests or self._paused:
                    self._wake.set()  # a request, or a pause, comes first
                    return True
                snapshot = await self._read()
                changed = self._changed(snapshot)
            packages = self._bases.pop_changed_packages()
            if not (forced or changed or packages):
                return True
            if self._rolled_back_load is not None and not (forced or changed):
                return await self._load_kept(self._rolled_back_load, str(packages))

            # The environment is read completely before the load starts: a FIFO yields its content once, and a
            # load that is overtaken must not consume it.
            reading_since = self._clock.monotonic()
            environment = await self._read_environment()
            started_at += self._clock.monotonic() - reading_since  # the environment took that long, not saves
            if self._wake.is_set() and not self._paused:
                # Load the modules as they are now, not as they were before a FIFO yielded its content. The
                # other files stay as they were: one that was saved since may have been read before that.
                snapshot = replace(await self._read(), others=snapshot.others)
                changed = self._changed(snapshot)
                if not (forced or changed or packages):
                    return True

            cause = replace(self._cause(forced, changed, packages, snapshot), seen_at=seen_at)
            self._report_flapping(self._flaps.load_began(changed, snapshot.written))
            try:
                loaded = await self._load_unless_overtaken(
                    Source(snapshot, environment, self._sources, accept_new), cause, started_at
                )
            except Appeared:
                loaded, accept_new = None, True
            if loaded is None:
                self._flaps.load_overtaken()
                continue

            self._flaps.load_ended(loaded.at)
            self._last = loaded.snapshot
            self._retry_later(loaded)
            if loaded.good:
                self._rolled_back_load = None
            self._watch_all()
            return loaded.good

    async def _load_unless_overtaken(self, source: Source, cause: Cause, started_at: float) -> Loaded | None:
        """Run a load and return its result; None if a later save overtook and cancelled it.

        Raise Appeared if the source should be read and loaded again.
        """
        quiet = self._quiet = asyncio.Event()
        load = asyncio.create_task(self._loader.load(source, cause, quiet), name="load")
        try:
            while not load.done():
                quiet_in = self._changed_at + self._quiet_s - self._clock.monotonic()
                if quiet_in <= 0:
                    quiet.set()
                await self._wait_for_change(load, None if quiet.is_set() else quiet_in)
                if not self._wake.is_set():
                    continue
                impatient = self._clock.monotonic() - started_at > PATIENCE_S
                if self._requests or impatient or self._loader.is_switching:
                    # Finish this load without waiting for quiet. Whatever woke the loop is handled after it.
                    self._quiet = asyncio.Event()
                    quiet.set()
                    await asyncio.wait({load})
                    break
                self._wake.clear()
                if self._paused or not await self._changed_since(source.snapshot):
                    continue
                if not load.done() and not self._loader.is_switching:
                    load.cancel(OVERTAKEN)
                    return None
                self._wake.set()  # too late to overtake: the change is handled after this load
            return await load
        finally:
            await _cancelled(load)

    async def _wait_for_change(self, load: "asyncio.Task[Loaded]", limit_s: float | None) -> None:
        woken = asyncio.create_task(self._wake.wait())
        try:
            await asyncio.wait({woken, load}, timeout=limit_s, return_when=asyncio.FIRST_COMPLETED)
        finally:
            woken.cancel()

    def _retry_later(self, loaded: Loaded) -> None:
        """Schedule another load if no process could start in this one: its code may be fine."""
        if not loaded.could_not_start:
            self._retry_s = RETRY_S
            return

        def retry() -> None:
            self._retry = True
            self._wake.set()

        asyncio.get_running_loop().call_later(self._retry_s, retry)
        self._retry_s = min(2 * self._retry_s, LONGEST_RETRY_S)

    # -- loading a kept load --------------------------------------------------------------------------

    async def _load_kept(self, kept: Loaded, text: str = "") -> bool:
        """Load the modules of an earlier load. Saves cannot overtake it; they are handled after it."""
        before = self._history.newest
        assert self._last is not None
        assert before is not None
        # Its modules, with the current environment.
        snapshot = replace(self._last, modules=kept.snapshot.modules, missing=kept.snapshot.missing)
        number = kept.rolled_back_to or kept.number
        is_on_disk = snapshot.modules.items() <= (await self._read()).modules.items()
        cause = Cause(
            text or f"roll back to {number}",
            changed=tuple(str(path) for path in differing(before.snapshot, snapshot)),
            rolled_back_to=0 if is_on_disk else number,
        )
        source = Source(snapshot, await self._read_environment(), rolled_back_to=number)
        quiet = asyncio.Event()
        quiet.set()
        self._flaps.load_began((), {})
        loaded = await self._loader.load(source, cause, quiet)
        self._flaps.load_ended(loaded.at)
        if loaded.good:
            self._rolled_back_load = None if is_on_disk else loaded
        self._wake.set()  # a save before or during it was not examined
        return loaded.good

    # -- what changed ---------------------------------------------------------------------------------

    async def _read(self) -> Snapshot:
        snapshot = await off_loop(self._sources.read)
        self._watch_all()
        return snapshot

    def _changed(self, snapshot: Snapshot) -> tuple[Path, ...]:
        """Return the files that differ from the last load and are not ignored."""
        return self._not_ignored(differing(self._last, snapshot)) if self._last is not None else ()

    async def _changed_since(self, snapshot: Snapshot) -> tuple[Path, ...]:
        return self._not_ignored(await off_loop(self._sources.changed, snapshot))

    def _not_ignored(self, paths: Iterable[Path]) -> tuple[Path, ...]:
        return tuple(sorted(each for each in paths if each not in self._flaps.ignored))

    async def _pause_for(self, pause_s: float) -> None:
        """Wait, unless something is requested or reloads are paused."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(pause_s):
                while not (self._requests or self._paused):
                    self._wake.clear()
                    await self._wake.wait()

    def _report_flapping(self, flapping: Iterable[Path]) -> None:
        if flapping:
            folder = Path(self._sources.folder)
            names = ", ".join(shown_path(each, os.environ, folder) for each in sorted(flapping))
            text = f"loading the agent rewrites {names}: its saves are ignored until you reload"
            self._emit(Notice(LogLevel.WARN, text))
            self._report_watching()

    def _cause(
        self, forced: str, changed: tuple[Path, ...], packages: Path | None, snapshot: Snapshot
    ) -> Cause:
        before = self._history.newest  # an older one after a rollback
        differ = self._not_ignored(differing(before.snapshot, snapshot)) if before is not None else ()
        names = tuple(map(str, differ))
        if forced:
            return Cause(forced, None, names)
        saved_at = self._saved_at(changed, snapshot)
        return Cause(str(changed[0] if changed else packages), saved_at, names)

    def _saved_at(self, changed: tuple[Path, ...], snapshot: Snapshot) -> float:
        """Return the monotonic time at which the last of these files was saved."""
        written = [snapshot.written[str(path)] for path in changed if str(path) in snapshot.written]
        age = time.time() - max(written, default=0.0)
        return self._clock.monotonic() - age if 0 <= age < FRESH_S else self._changed_at

    def _watch_all(self) -> None:
        if self._watch is not None:
            self._watch.follow(self._sources.folders | frozenset(self._bases.packages))

    def _report_watching(self) -> None:
        ignored = tuple(str(each) for each in sorted(self._flaps.ignored))
        self._emit(WatchingChanged(self._paused, ignored))


class FlapDetector:
    """Finds files that loading itself rewrites, so that each load would cause the next one.

    The rule: a file that was rewritten during each of the last `most_loads` loads, and never between two of
    them, is flapping and is ignored. Its rate of change proves nothing: if a load takes a second, a person
    who saves every half second changes the file during each load too. So from `may_flap_after` loads on, the
    next load waits for twice the time that the last change took to come. A person's next save falls into that
    pause; a write by the load cannot.
    """

    DYING_S = 0.1
    """How long the processes of a cancelled load may still run, in s."""

    TICK_S = 0.01
    """How far the modification time of a file may be behind the clock, in s."""

    MOST_PAUSE_S = 5.0

    def __init__(
        self,
        *,
        most_loads: int = 7,
        may_flap_after: int = 4,
        now: Callable[[], float] = time.time,
    ) -> None:
        """`now` returns Unix time, the time of files."""
        self.ignored: frozenset[Path] = frozenset()
        self._most_loads = most_loads
        self._may_flap_after = may_flap_after
        self._now = now
        self._began_at = self._ended_at = 0.0
        """Start and end of the last load, in Unix time."""
        self._streaks: dict[Path, int] = {}
        """For each file, how many loads in a row rewrote it before the last load."""

    def load_began(self, changed: Iterable[Path], written: Mapping[str, float]) -> frozenset[Path]:
        """Record which changes a load starts for. Return the files that are ignored from now on.

        `written` is when files were last written, in Unix time.
        """
        self._streaks = self._in_last_load(changed, written)
        self._began_at, self._ended_at = self._now(), math.inf
        flapping = frozenset(path for path, row in self._streaks.items() if row >= self._most_loads)
        self.ignored |= flapping
        return flapping

    def load_ended(self, at: float) -> None:
        self._ended_at = at

    def load_overtaken(self) -> None:
        self._ended_at = self._now() + self.DYING_S

    def pause_s(self, changed: Iterable[Path], written: Mapping[str, float]) -> float:
        """Return how long to delay the next load, in s; 0 unless all of these files may be flapping.

        The delay shows whether the files also change while nothing is loading.
        """
        rows, changed = self._in_last_load(changed, written), tuple(changed)
        if not changed or any(rows.get(path, 0) < self._may_flap_after for path in changed):
            return 0.0
        took_s = max(written.get(str(path), self._began_at) - self._began_at for path in changed)
        return min(2 * (took_s + self.DYING_S), self.MOST_PAUSE_S)

    def forget(self) -> None:
        """Stop ignoring files."""
        self.ignored = frozenset()
        self._streaks = {}

    def _in_last_load(self, changed: Iterable[Path], written: Mapping[str, float]) -> dict[Path, int]:
        """Return how many loads in a row rewrote each changed file, for files written during the last load.

        A deleted file counts as written at the start of that load: no user deletes a file during each of
        seven loads.
        """
        first, last = self._began_at - self.TICK_S, self._ended_at
        return {
            path: self._streaks.get(path, 0) + 1
            for path in changed
            if first <= written.get(str(path), self._began_at) <= last
        }


async def _cancelled(task: "asyncio.Task[Any]") -> None:
    if not task.cancelling():  # a second cancel would drop the reason of the first
        task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def _watch_advice(error: OSError) -> str:
    """Return what to do about a watch that failed, such as raising the user's limits of inotify."""
    press = "press r after a save until it works again"
    if "limit" in str(error) or "open files" in str(error):
        return f"{press}; raise fs.inotify.max_user_watches and max_user_instances (sysctl), or ulimit -n"
    return press
