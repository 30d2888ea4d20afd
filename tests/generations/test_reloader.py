"""What is loaded when: concurrent saves, reloads, and roll-backs, over scripted children."""

import asyncio
import itertools
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from msgspec.structs import replace

from agent_tui.generations import control, reloader
from agent_tui.generations.reloader import OVERTAKEN, FlapDetector, Reloader
from agent_tui.generations.sources import Snapshot, Sources, Watch
from agent_tui.model import child as ch
from agent_tui.model.clock import Clock, SystemClock
from agent_tui.model.errors import UserError
from agent_tui.model.events import (
    GenerationFailed,
    GenerationLoading,
    GenerationOvertaken,
    GenerationReady,
    Notice,
    ProcessChanged,
    WatchingChanged,
)
from agent_tui.model.logs import LogLevel
from tests.fakes.clock import FakeClock
from tests.fakes.scripted_child import ScriptedChild, until
from tests.limits import PATIENCE_S

from .support import MANIFEST, World, refused, world

READ = Sources.read


class Desktop:
    """An agent's file and its reloader; `look()` does what a watcher does each second."""

    def __init__(
        self,
        world: World,
        folder: Path,
        watch: Watch | None = None,
        clock: Clock | None = None,
        quiet_s: float = 0.0,
    ) -> None:
        self.world = world
        self.file = folder / "agent.py"
        self.save("one")
        self.reloader = Reloader(
            world.loader,
            Sources(self.file, cwd=folder),
            watch,
            world.bases,
            read_environment=world.read_environment,
            clock=clock or SystemClock(),
            emit=world.events.append,
            quiet_s=quiet_s,
        )

    def save(self, text: str) -> None:
        self.file.write_text(f"# {text}\n")

    def look(self) -> None:
        self.reloader.pause(False)

    @property
    def loaded(self) -> list[GenerationReady]:
        return [event for event in self.world.events if isinstance(event, GenerationReady)]

    @property
    def served(self) -> str:
        """The text of the file in the generation that was loaded last."""
        modules = self.world.served[-1]
        assert isinstance(modules, dict)
        return str(modules[str(self.file)].decode()).strip("# \n")

    async def load(self, text: str) -> None:
        self.save(text)
        count = len(self.loaded)
        self.look()
        await until(lambda: len(self.loaded) == count + 1)

    async def nothing_is_loaded(self) -> None:
        count = len(self.loaded)
        for _ in range(3):
            self.look()
            await asyncio.sleep(0.02)
        assert len(self.loaded) == count


async def test_a_save_while_the_first_generation_warms_up_does_not_end_it(tmp_path: Path) -> None:
    async with world(idle=0) as w:
        w.script.imports_at_once = False
        d = Desktop(w, tmp_path)
        running = asyncio.create_task(d.reloader.run())
        await until(lambda: w.switches)
        d.save("broken")
        w.script.broken = ch.Failed("SyntaxError: invalid", "Traceback…", "agent.py", 3)
        d.look()
        await until(lambda: w.told(GenerationFailed))
        assert w.loader.current is not None
        w.children(ch.ProcessKind.BASE)[0].say(ch.Imported(("warm",), "", "", ()))
        await until(lambda: [each.generation for each in d.loaded] == [1])
        w.script.broken = None
        await d.load("fixed")
        assert w.switches == [1, 3]
        assert (await d.reloader.diff(2, None)).startswith("generation 2 compared with 1")
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_a_module_that_appears_during_a_load_is_loaded_with_the_rest(tmp_path: Path) -> None:
    helper, lazy = tmp_path / "helper.py", tmp_path / "lazy.py"

    def appear() -> None:
        helper.write_text("x = 2\n")
        lazy.write_text("x = 2\n")

    async with world(idle=0) as w:
        d = Desktop(w, tmp_path)
        d.file.write_text("import helper\ndef f(): import lazy\n")
        # The agent's file imports one module, and will import the other in a job.
        w.script.manifest = replace(MANIFEST, files=(str(d.file), str(helper)))
        w.script.on_load = appear
        running = asyncio.create_task(d.reloader.run())
        await until(lambda: d.loaded)
        assert [each.generation for each in w.events if isinstance(each, GenerationOvertaken)] == [1]
        assert [each.generation for each in d.loaded] == [2]
        assert {str(helper), str(lazy)} <= w.served[-1].keys()

        lazy.unlink()
        d.look()
        await until(lambda: len(d.loaded) == 2)
        assert str(lazy) not in w.served[-1]
        assert str(tmp_path / "lazy") in w.missing[-1]
        d.look()
        await until(lambda: len(d.loaded) == 3)
        assert str(lazy) in w.served[-1]
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_a_file_system_that_hangs_holds_up_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hangs, reads = threading.Event(), threading.Event()

    def hanging(sources: Sources) -> Snapshot:
        reads.set()
        hangs.wait()
        return READ(sources)

    async with desktop(tmp_path) as d:
        monkeypatch.setattr(Sources, "read", hanging)
        d.save("two")
        d.look()
        await until(reads.is_set)  # the loop then reads it
        assert len(d.loaded) == 1
        hangs.set()
        await until(lambda: len(d.loaded) == 2)
        hangs.clear()
        reads.clear()
        d.look()
        await until(reads.is_set)
    hangs.set()  # not earlier than this, and everything has ended


async def test_modules_are_read_after_the_environment(tmp_path: Path) -> None:
    async with desktop(tmp_path) as d:
        d.world.environment_gives.clear()
        d.save("half")
        d.look()
        await until(lambda: d.world.environment_reads == 2)
        d.save("whole")
        d.look()
        d.world.environment_gives.set()
        await until(lambda: len(d.loaded) == 2)
        assert d.served == "whole"
        await d.nothing_is_loaded()
        assert not d.world.told(GenerationOvertaken)
        assert d.world.environment_reads == 2


async def test_the_wait_for_the_environment_does_not_make_a_load_impatient(tmp_path: Path) -> None:
    clock = FakeClock()
    async with desktop(tmp_path, clock) as d:
        d.world.environment_gives.clear()
        d.world.script.hangs = True
        d.save("half")
        d.look()
        await until(lambda: d.world.environment_reads == 2)
        clock.advance(2 * reloader.PATIENCE_S)
        d.world.environment_gives.set()
        await until(lambda: len(d.world.children(ch.ProcessKind.CONTROL)) == 2)
        d.world.script.hangs = False
        d.save("whole")
        d.look()
        await until(lambda: len(d.loaded) == 2)
        assert d.served == "whole"
        assert d.world.told(GenerationOvertaken) == [GenerationOvertaken(2)]


async def test_an_environment_file_that_is_saved_while_it_is_read_is_read_again(tmp_path: Path) -> None:
    async with desktop(tmp_path) as d:
        d.world.environment_gives.clear()
        d.save("two")
        d.look()
        await until(lambda: d.world.environment_reads == 2)
        (tmp_path / ".env").write_text("A=2\n")
        d.look()
        d.world.environment_gives.set()
        await until(lambda: d.world.environment_reads == 3)
        await until(lambda: len(d.loaded) == 2)
        await d.nothing_is_loaded()


async def test_a_save_that_is_undone_while_the_environment_is_read_loads_nothing(tmp_path: Path) -> None:
    async with desktop(tmp_path) as d:
        d.world.environment_gives.clear()
        d.save("two")
        d.look()
        await until(lambda: d.world.environment_reads == 2)
        d.save("one")
        d.look()
        d.world.environment_gives.set()
        await d.nothing_is_loaded()
        assert not d.world.told(GenerationOvertaken)


async def test_a_save_after_the_pause_key_waits_also_while_the_environment_is_read(tmp_path: Path) -> None:
    async with desktop(tmp_path) as d:
        d.world.environment_gives.clear()
        d.save("two")
        d.look()
        await until(lambda: d.world.environment_reads == 2)
        d.reloader.pause(True)
        d.save("three")
        d.world.environment_gives.set()
        await until(lambda: len(d.loaded) == 2)
        assert d.served == "two"


@asynccontextmanager
async def desktop(
    folder: Path,
    clock: Clock | None = None,
    packages: Path | None = None,
    watch: Watch | None = None,
    quiet_s: float = 0.0,
) -> AsyncIterator[Desktop]:
    async with world(idle=0) as w:
        if packages is not None:
            w.script.base = ch.BaseReport("", "", (), (str(packages),))
        made = Desktop(w, folder, watch, clock, quiet_s)
        running = asyncio.create_task(made.reloader.run())
        try:
            await until(lambda: made.loaded)
            yield made
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)


def ignored_files(d: Desktop) -> set[str]:
    told = [event for event in d.world.events if isinstance(event, WatchingChanged)]
    return {path for event in told for path in event.ignored}


async def test_a_file_that_each_load_rewrites_is_ignored(tmp_path: Path) -> None:
    async with desktop(tmp_path) as d:
        prepare, stamps = d.world.nursery.prepare, itertools.count()

        def rewrite(child: ScriptedChild) -> None:
            if child.kind is ch.ProcessKind.CONTROL:
                d.save(f"stamp {next(stamps)}")
                d.look()
            prepare(child)

        d.world.nursery.prepare = rewrite
        d.save("by somebody")
        d.look()
        await until(lambda: ignored_files(d) == {str(d.file)})
        events = d.world.events
        told = next(
            at for at, each in enumerate(events) if isinstance(each, WatchingChanged) and each.ignored
        )
        last = 1 + sum(isinstance(each, GenerationLoading) for each in events[:told])
        await until(lambda: d.loaded[-1].generation == last)
        await d.nothing_is_loaded()
        assert await d.reloader.reload()  # it counts again


async def test_a_person_who_saves_faster_than_a_load_is_not_flapping(tmp_path: Path) -> None:
    async with desktop(tmp_path) as d:
        d.world.script.hangs = True
        for number in itertools.count():
            if len(d.world.children(ch.ProcessKind.CONTROL)) > 10:
                break
            d.save(f"typed {number}")
            d.look()
            await asyncio.sleep(0.05)  # out of step with the loads, which is what distinguishes them
        d.world.script.hangs = False
        await d.load("the last")
        assert d.served == "the last"
        assert not ignored_files(d)


async def test_a_pause_during_the_wait_for_a_file_that_may_flap_applies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(FlapDetector, "pause_s", lambda *_: 60.0)
    async with desktop(tmp_path) as d:
        d.save("two")
        d.look()
        await asyncio.sleep(0.01)  # it waits
        d.reloader.pause(True)
        monkeypatch.undo()
        await until(lambda: not d.reloader._wake.is_set())
        assert len(d.loaded) == 1
        d.look()
        await until(lambda: len(d.loaded) == 2)


A, B = Path("/a.py"), Path("/b.py")


class Disk:
    """Files, their times, and the loads that a detector is notified of."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.written: dict[str, float] = {}
        self.changed: set[Path] = set()
        """Files changed since the last load started."""
        self.flaps = FlapDetector(most_loads=3, may_flap_after=2, now=self.clock.time)

    def save(self, *paths: Path) -> None:
        self.written |= {str(path): self.clock.time() for path in paths}
        self.changed |= set(paths)

    def begin(self) -> frozenset[Path]:
        changed, self.changed = self.changed, set()
        return self.flaps.load_began(changed, self.written)

    def load(self, *rewrites: Path) -> frozenset[Path]:
        """Run a load of one second that rewrites these files in its middle; return the files that are
        flapping now.
        """
        flapping = self.begin()
        self.clock.advance(0.5)
        self.save(*rewrites)
        self.clock.advance(0.5)
        self.flaps.load_ended(self.clock.time())
        return flapping

    def pause_s(self, *changed: Path) -> float:
        return self.flaps.pause_s(changed, self.written)


def test_a_file_that_each_load_rewrites_flaps() -> None:
    disk = Disk()
    assert [disk.load(A, B), disk.load(A, B), disk.load(A)] == [set(), set(), set()]
    assert disk.load(A) == {A}  # B did not change
    assert disk.flaps.ignored == {A}
    disk.flaps.forget()
    assert not disk.flaps.ignored
    assert not disk.load(A)


def test_one_load_without_a_rewrite_resets_the_count() -> None:
    disk = Disk()
    for number in range(200):
        assert not disk.load(*[A] if number % 3 else [])


def test_a_save_between_two_loads_resets_the_count() -> None:
    disk = Disk()
    for number in range(200):
        assert not disk.load(A)
        if number % 3 == 2:
            disk.clock.advance(0.001)
            disk.save(A)


def test_a_file_that_may_flap_delays_the_next_load() -> None:
    disk = Disk()
    disk.load(A)
    assert disk.pause_s(A) == 0
    disk.load(A)
    assert disk.pause_s(A) == pytest.approx(1.2)
    assert disk.pause_s(A, B) == 0  # a save of something else does not wait
    assert disk.pause_s() == 0
    disk.begin()
    disk.clock.advance(60.0)
    disk.save(A)
    disk.flaps.load_ended(disk.clock.time())
    assert disk.pause_s(A) == FlapDetector.MOST_PAUSE_S


def test_writes_of_a_cancelled_load_s_dying_processes_count_as_its_own() -> None:
    disk = Disk()
    for _ in range(3):
        assert not disk.begin()
        disk.clock.advance(0.5)
        disk.flaps.load_overtaken()
        disk.clock.advance(0.05)
        disk.save(A)
    assert disk.begin() == {A}


def test_a_file_that_loads_delete_flaps_as_well() -> None:
    disk = Disk()
    for _ in range(3):
        assert not disk.load()
        disk.changed = {A}
    assert disk.load() == {A}


async def test_a_save_that_is_undone_while_loading_is_reported_overtaken(tmp_path: Path) -> None:
    async with desktop(tmp_path) as d:
        d.world.script.hangs = True
        d.save("two")
        d.look()
        await until(lambda: len(d.world.children(ch.ProcessKind.CONTROL)) == 2)
        d.save("one")
        d.look()
        await until(lambda: d.world.told(GenerationOvertaken))
        assert d.world.told(GenerationOvertaken) == [GenerationOvertaken(2)]
        await until(lambda: d.world.children(ch.ProcessKind.CONTROL)[1].exit.done())
        await until(
            lambda: OVERTAKEN in [each.reason for each in d.world.events if isinstance(each, ProcessChanged)]
        )
        await d.nothing_is_loaded()


@pytest.mark.parametrize("loading", [False, True])
async def test_callers_waiting_for_a_load_get_an_error_at_the_end(tmp_path: Path, loading: bool) -> None:
    async with world(idle=0) as w:
        d = Desktop(w, tmp_path)
        running = asyncio.create_task(d.reloader.run())
        await until(lambda: d.loaded)
        await d.load("two")
        w.script.hangs = True
        asked = [asyncio.create_task(each) for each in (d.reloader.reload(), d.reloader.roll_back(1))]
        if loading:
            await until(lambda: len(w.children(ch.ProcessKind.CONTROL)) == 3)
        else:
            await asyncio.sleep(0)
        running.cancel()
        async with asyncio.timeout(PATIENCE_S):
            for each in (*asked, d.reloader.reload()):
                with pytest.raises(UserError, match="agent-tui is stopping"):
                    await each
        await asyncio.gather(running, return_exceptions=True)


async def test_a_roll_back_stays_until_something_is_saved(tmp_path: Path) -> None:
    async with desktop(tmp_path) as d:
        await d.load("two")
        assert await d.reloader.roll_back(1)
        assert (d.served, d.loaded[-1].rolled_back_to) == ("one", 1)
        await d.nothing_is_loaded()
        await d.load("three")
        assert (d.served, d.loaded[-1].rolled_back_to) == ("three", 0)
        assert d.loaded[-1].changed == (str(d.file),)


async def test_a_save_during_a_roll_back_is_loaded_after_it(tmp_path: Path) -> None:
    async with desktop(tmp_path) as d:
        await d.load("two")
        asked = asyncio.create_task(d.reloader.roll_back(1))
        await asyncio.sleep(0)
        d.save("three")
        d.look()
        assert await asked
        await until(lambda: len(d.loaded) == 4)
        assert [each.rolled_back_to for each in d.loaded] == [0, 0, 1, 0]
        assert d.served == "three"


async def test_ignored_saves_wait_behind_a_roll_back(tmp_path: Path) -> None:
    async with desktop(tmp_path) as d:
        await d.load("two")
        d.reloader.pause(True)
        d.save("three")
        assert await d.reloader.roll_back(1)
        assert d.served == "one"
        d.reloader.pause(False)
        await until(lambda: len(d.loaded) == 4)
        assert d.served == "three"


async def test_changed_packages_reload_what_was_rolled_back_to(tmp_path: Path) -> None:
    packages = tmp_path / "site-packages"
    packages.mkdir()
    async with desktop(tmp_path, packages=packages) as d:
        await d.load("two")
        await d.reloader.roll_back(1)
        (packages / "six.py").touch()
        d.look()
        await until(lambda: len(d.loaded) == 4)
        last = d.loaded[-1]
        assert (d.served, last.cause, last.rolled_back_to) == ("one", str(packages), 1)
        await d.nothing_is_loaded()


async def test_concurrent_requests_are_served_in_order(tmp_path: Path) -> None:
    async with desktop(tmp_path) as d:
        await d.load("two")
        asked = (d.reloader.roll_back(1), d.reloader.reload(), d.reloader.reload(), d.reloader.roll_back(1))
        assert all(await asyncio.gather(*asked))
        assert [each.cause for each in d.loaded[2:]] == ["roll back to 1", "reload", "roll back to 1"]
        assert d.served == "one"


async def test_a_roll_back_to_a_roll_back_names_the_original_generation(tmp_path: Path) -> None:
    async with desktop(tmp_path) as d:
        await d.load("two")
        await d.reloader.roll_back(1)
        await d.load("four")
        assert await d.reloader.roll_back(3)
        assert (d.loaded[-1].cause, d.loaded[-1].rolled_back_to) == ("roll back to 1", 1)


async def test_a_failed_roll_back_changes_nothing(tmp_path: Path) -> None:
    async with desktop(tmp_path) as d:
        await d.load("two")
        d.world.settings.refuse = refused
        assert not await d.reloader.roll_back(1)
        [event] = d.world.told(GenerationFailed)
        assert isinstance(event, GenerationFailed)
        assert (event.generation, event.cause) == (3, "roll back to 1")
        d.world.settings.refuse = lambda manifest: None
        current = d.world.loader.current
        assert current is not None
        assert current.number == 2
        await d.nothing_is_loaded()
        await d.load("four")
        assert (await d.reloader.diff(4, None)).startswith("generation 4 compared with 2")


async def test_an_unknown_generation_is_refused_before_loading(tmp_path: Path) -> None:
    async with desktop(tmp_path) as d:
        with pytest.raises(UserError, match="generation 1 is already current"):
            await d.reloader.roll_back(1)
        with pytest.raises(UserError, match="there is no generation 2"):
            await d.reloader.roll_back(2)
        with pytest.raises(UserError, match="generation 1 was the first"):
            await d.reloader.diff(1, None)
        await d.nothing_is_loaded()


async def test_a_diff_names_files_below_the_agents_folder_from_there(tmp_path: Path) -> None:
    async with desktop(tmp_path) as d:
        await d.load("two")
        assert (await d.reloader.diff(2, None)).split("\n") == [
            "generation 2 compared with 1: 1 file, +1 -1 lines",
            "--- agent.py",
            "+++ agent.py",
            "@@ -1 +1 @@",
            "-# one",
            "+# two",
        ]


class Poked(Watch):
    """A watch that reports something when a test says so."""

    def follow(self, folders: object) -> None: ...

    def poke(self) -> None:
        self._changed.set()


async def test_a_save_that_is_followed_by_others_waits_until_it_is_quiet(tmp_path: Path) -> None:
    watch, clock = Poked(), FakeClock()
    async with desktop(tmp_path, clock, watch=watch, quiet_s=0.03) as d:
        d.save("two")
        watch.poke()
        await until(lambda: len(d.world.children(ch.ProcessKind.CONTROL)) == 2)
        await asyncio.sleep(0.06)  # on the injected clock, no time has passed
        assert len(d.loaded) == 1
        clock.advance(0.03)
        await until(lambda: len(d.loaded) == 2)


async def test_a_request_lets_the_running_load_finish_despite_saves(tmp_path: Path) -> None:
    watch, clock = Poked(), FakeClock()
    async with desktop(tmp_path, clock, watch=watch, quiet_s=0.03) as d:
        d.save("two")
        watch.poke()
        await until(lambda: len(d.world.children(ch.ProcessKind.CONTROL)) == 2)
        asked = asyncio.create_task(d.reloader.reload())
        await asyncio.sleep(0)
        d.save("three")
        watch.poke()
        await until(lambda: len(d.loaded) == 2)
        assert d.loaded[1].changed == (str(d.file),)
        clock.advance(0.03)
        assert await asked
        assert [each.cause for each in d.loaded] == ["start", str(d.file), "reload"]
        assert d.served == "three"


async def test_a_save_during_the_switch_gets_its_own_load(tmp_path: Path) -> None:
    async with desktop(tmp_path) as d:
        d.world.settings.apply_gives.clear()
        d.save("two")
        d.look()
        await until(lambda: d.world.loader.is_switching)
        d.save("three")
        d.look()
        await asyncio.sleep(0.01)
        assert d.world.loader.is_switching
        d.world.settings.apply_gives.set()
        await until(lambda: len(d.loaded) == 3)
        assert d.served == "three"
        assert not d.world.told(GenerationOvertaken)


NONE_LEFT = OSError(24, "Too many open files")


class Scarce(Watch):
    """A watch that ends twice for lack of descriptors."""

    ends = 2
    followed = 0
    alive: asyncio.Event

    def follow(self, folders: object) -> None:
        self.followed += 1

    async def next(self) -> None:
        if self.ends:
            self.ends -= 1
            raise NONE_LEFT
        await self.alive.wait()
        self.alive.clear()


async def test_a_watch_that_ended_is_restarted_with_one_notice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reloader, "RETRY_S", 0.0)
    async with world(idle=0) as w:
        watch, clock = Scarce(), FakeClock()
        watch.alive = asyncio.Event()
        d = Desktop(w, tmp_path, watch, clock)
        running = asyncio.create_task(d.reloader.run())
        await until(lambda: d.loaded and not watch.ends)
        followed = watch.followed
        await d.load("two")
        assert watch.followed > followed
        said = [event.text for event in w.events if isinstance(event, Notice)]
        assert [text for text in said if "file watching" in text] == [
            f"saves are not noticed: file watching failed ({NONE_LEFT})"
        ]
        clock.advance(reloader.WORKS_S + 1)
        watch.alive.set()
        await until(lambda: len(w.told(Notice)) == 2)
        failed, works = (each for each in w.told(Notice) if isinstance(each, Notice))
        assert works.text == "file watching works again"
        assert (failed.about, failed.level) == (works.about, LogLevel.WARN)
        assert "ulimit -n" in failed.todo
        assert works.level is LogLevel.INFO
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_a_load_whose_process_cannot_start_is_retried(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reloader, "RETRY_S", 0.0)
    monkeypatch.setattr(control, "MOST_RESTARTS", 0)

    async with world(idle=0) as w:
        prepare = w.nursery.prepare

        def scarce(child: ScriptedChild) -> None:
            if child.kind is ch.ProcessKind.CONTROL and len(w.told(GenerationFailed)) < 2:
                child.end(1)
                raise NONE_LEFT
            prepare(child)

        w.nursery.prepare = scarce
        d = Desktop(w, tmp_path)
        running = asyncio.create_task(d.reloader.run())
        await until(lambda: d.loaded)
        errors = [event.error for event in w.events if isinstance(event, GenerationFailed)]
        assert errors == [f"failed to start: {NONE_LEFT}"] * 2
        await d.nothing_is_loaded()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_an_internal_error_in_a_load_is_a_load_that_failed(tmp_path: Path) -> None:
    async with desktop(tmp_path) as d:

        def bug(manifest: ch.Manifest) -> None:
            raise KeyError("a bug")

        refuse, d.world.settings.refuse = d.world.settings.refuse, bug
        d.save("two")
        d.look()
        await until(lambda: d.world.told(GenerationFailed))
        (failed,) = d.world.told(GenerationFailed)
        assert isinstance(failed, GenerationFailed)
        assert failed.error == "internal error (loading): KeyError: 'a bug'"
        assert d.world.loader.current is not None
        d.world.settings.refuse = refuse
        await d.load("three")


async def test_an_internal_error_keeps_what_is_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with world(idle=0) as w:
        d = Desktop(w, tmp_path)
        running = asyncio.create_task(d.reloader.run())
        await until(lambda: d.loaded)

        def bug(self: Sources) -> None:
            raise RecursionError("too deep")

        with monkeypatch.context() as patched:
            patched.setattr(Sources, "read", bug)
            asked = asyncio.create_task(d.reloader.reload())
            with pytest.raises(RecursionError):
                await running
            with pytest.raises(UserError, match="internal error"):
                await asked
        running = asyncio.create_task(d.reloader.run())
        await d.nothing_is_loaded()
        await d.load("two")
        assert w.switches == [1, 2]
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
