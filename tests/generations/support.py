"""Generations over scripted children: a project that records its calls, and children that load as
scripted.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from msgspec.structs import replace

from agent_tui.generations.bases import Bases
from agent_tui.generations.generation import Cause, Generation, Source
from agent_tui.generations.history import Loaded
from agent_tui.generations.load import Loader
from agent_tui.generations.sources import Snapshot
from agent_tui.model import child as ch
from agent_tui.model.clock import SystemClock
from agent_tui.model.errors import UserError
from agent_tui.model.events import Event, StartMethod
from agent_tui.options.declare import DefaultsContext, Effect
from agent_tui.options.envfiles import Environment
from agent_tui.options.resolve import SourcedValue
from agent_tui.processes.inference import SharedInference
from agent_tui.processes.pool import Pool
from agent_tui.processes.process import Supervisor
from agent_tui.processes.timings import BackOff, ProcessTimings
from agent_tui.runtimes.python import ChildSettings, Modules
from agent_tui.settings.manager import SettingsManager
from agent_tui.settings.settings import Settings
from tests.fakes.scripted_child import Nursery, ScriptedChild
from tests.limits import PATIENCE_S

MANIFEST = ch.Manifest("native", None, {}, True, False, False, False, (), "f", ("/a.py",), 1.0)


@dataclass
class Script:
    """How children behave; tests change it while they run."""

    manifest: ch.Manifest = MANIFEST
    broken: ch.Failed | None = None
    hangs: bool = False
    prewarm_fails: ch.Failed | None = None
    base: ch.BaseReport = field(default_factory=lambda: ch.BaseReport("", "", (), ()))
    unsafe: str = ""
    imports_at_once: bool = True
    on_load: Callable[[], object] = lambda: None
    """Called while a control process loads."""

    def prepare(self, child: ScriptedChild) -> None:
        """Script a child when it is created."""
        child.say(ch.Loading())
        match child.kind:
            case ch.ProcessKind.BASE:
                child.say(self.base, ch.Ready())
                child.answers = self._base
            case ch.ProcessKind.CONTROL | ch.ProcessKind.TEMPLATE:
                self._load(child)
            case _:
                if self.prewarm_fails is not None:
                    child.say(self.prewarm_fails)
                    child.end(1)
                else:
                    child.say(ch.Ready())

    def _load(self, child: ScriptedChild) -> None:
        if self.hangs:
            return
        if self.broken is not None:
            child.say(self.broken)
            child.end(1)
        elif child.kind is ch.ProcessKind.CONTROL:
            self.on_load()
            child.say(ch.Code(({"path": "/a.py", "digest": "0", "code": ""},)), self.manifest)
        else:
            child.say(ch.TemplateReport(self.manifest.load_ms, self.unsafe), ch.Ready())

    def _base(self, child: ScriptedChild, message: ch.ToChild) -> None:
        match message:
            case ch.ImportModules(modules=modules) if self.imports_at_once:
                child.say(ch.Imported(modules, "", "", ()))
            case ch.Shutdown():
                child.say(ch.ShutdownAck(), ch.ShuttingDown())
                child.end()


class FakeRuntime:
    """Records what each child is forked from."""

    def __init__(
        self,
        nursery: Nursery,
        parents: dict[str, tuple[str, ...]],
        served: list[Mapping[str, bytes]],
        missing: list[frozenset[str]],
        other_kind: str,
        environ: Mapping[str, str],
    ) -> None:
        self.environ = environ
        self.unforked = StartMethod.SPAWN
        self.keeps_control = True
        self.settings: list[ChildSettings] = []
        self._nursery = nursery
        self._parents = parents
        self._served = served
        self._missing = missing
        self._other_kind = other_kind
        self.closed = False

    async def launch(
        self, kind: ch.ProcessKind, process_id: str, functions: str, parents: tuple[ch.Child, ...]
    ) -> ch.Child:
        assert not self.closed
        self._parents[process_id] = tuple(
            each.process_id for each in parents if isinstance(each, ScriptedChild)
        )
        return await self._nursery(kind, process_id)

    def configure(self, settings: ChildSettings) -> None:
        self.settings.append(settings)

    def serve(self, modules: Modules) -> None:
        self._served[-1], self._missing[-1] = modules.contents, modules.missing

    async def other_kind(self, said: ch.Manifest | ch.Failed | None) -> str:
        return "" if isinstance(said, ch.Manifest) else self._other_kind

    def close(self) -> None:
        self.closed = True


class FakeSettings(SettingsManager):
    """Records what is applied; `refuse` raises for what a test rejects."""

    def __init__(self, idle: int, emit: Callable[[Event], None]) -> None:
        environment = Environment({}, (), ())
        flags = {"numIdleProcesses": SourcedValue(idle, "--num-idle-processes")}
        super().__init__(
            Settings(environment, flags, DefaultsContext("native")),
            read_environment=lambda: environment,
            emit=emit,
        )
        self.refuse: Callable[[ch.Manifest], None] = lambda manifest: None
        self.applied: list[ch.Manifest] = []
        self.apply_gives = asyncio.Event()
        """Until it is set, applying options blocks, as finding a server does."""
        self.apply_gives.set()

    def check(self, manifest: ch.Manifest, environment: Environment) -> Settings:
        self.refuse(manifest)
        return super().check(manifest, environment)

    async def apply(self, proposed: Settings) -> None:
        await self.apply_gives.wait()
        await super().apply(proposed)
        assert proposed.manifest is not None
        self.applied.append(proposed.manifest)


class World:
    """A project whose generations have a real pool and real bases."""

    def __init__(
        self, wanted: StartMethod | None = None, *, idle: int = 1, forks: bool = True, pause_s: float = 60
    ) -> None:
        self.script = Script()
        self.nursery = Nursery(self.script.prepare)
        self.events: list[Event] = []
        self.parents: dict[str, tuple[str, ...]] = {}
        self.served: list[Mapping[str, bytes]] = []
        self.missing: list[frozenset[str]] = []
        self.switches: list[int] = []
        self.other_kind = ""
        """What a file that does not load says about its kind."""
        self.environment = Environment({"A": SourcedValue("1", ".env:1")}, (), ())
        self.environment_gives = asyncio.Event()
        """Until it is set, reading the environment blocks, as a FIFO does."""
        self.environment_gives.set()
        self.environment_reads = 0
        self.runtimes: list[FakeRuntime] = []
        self.unforked = StartMethod.SPAWN
        clock, timings = SystemClock(), ProcessTimings(initialize_s=0.3, shutdown_s=0.2)
        self.on_event: Callable[[Event], object] = lambda event: None
        supervisor = Supervisor(lambda: timings, clock, self._emit)
        self.pool = Pool(supervisor, lambda _: None, starting_at_once=2)
        impossible = "--start-method spawn" if wanted is StartMethod.SPAWN else "" if forks else "not here"
        self.bases = Bases(
            supervisor,
            self._launch_base,
            sdk=("sdk",),
            warm_up=("warm",),
            impossible=impossible,
            free_memory_after_s=0.0,
            back_off=BackOff(first_s=pause_s, most_s=pause_s),
        )
        self.inference = SharedInference(supervisor)
        self.settings = FakeSettings(idle, self._emit)
        self.settings.push_to(
            {Effect.POOL: lambda options: self.pool.set_target(options.num_idle_processes)},
            wait_until_accepted=accepted_at_once,
        )
        self.loader = Loader(
            self, self.settings, self.bases, self.pool, self.inference, supervisor, wanted=wanted
        )

    def _emit(self, event: Event) -> None:
        self.events.append(event)
        self.on_event(event)

    async def _launch_base(
        self, process_id: str, environ: Mapping[str, str], modules: object
    ) -> ScriptedChild:
        return await self.nursery(ch.ProcessKind.BASE, process_id)

    def children(self, kind: ch.ProcessKind) -> list[ScriptedChild]:
        return [child for child in self.nursery.children if child.kind is kind]

    def told(self, kind: type[Event]) -> list[Event]:
        return [event for event in self.events if isinstance(event, kind)]

    async def read_environment(self) -> Environment:
        self.environment_reads += 1
        environment = self.environment
        await self.environment_gives.wait()
        return environment

    def source(self) -> Source:
        """Return one file, all of whose modules are known."""
        return Source(Snapshot({"/a.py": b"all of it"}, {}), self.environment)

    async def load(self, cause: Cause | None = None, quiet: asyncio.Event | None = None) -> Loaded:
        """Load it; without `quiet` no save follows."""
        async with asyncio.timeout(PATIENCE_S):
            return await self.loader.load(self.source(), cause or Cause("start"), quiet or quiet_now())

    # -- Project ----------------------------------------------------------------------------------------

    def make_runtime(self, environment: Environment, modules: Modules) -> FakeRuntime:
        self.served.append(modules.contents)
        self.missing.append(modules.missing)
        self.runtimes.append(
            FakeRuntime(
                self.nursery, self.parents, self.served, self.missing, self.other_kind, environment.plain
            )
        )
        self.runtimes[-1].unforked = self.unforked
        return self.runtimes[-1]

    def switch(self, generation: Generation) -> None:
        self.switches.append(generation.number)
        self.inference.use(generation.plan, generation.manifest)
        self.pool.use(generation.plan)


@asynccontextmanager
async def world(
    wanted: StartMethod | None = None, *, idle: int = 1, forks: bool = True, pause_s: float = 60.0
) -> AsyncIterator[World]:
    """A world that leaves nothing behind."""
    made = World(wanted, idle=idle, forks=forks, pause_s=pause_s)
    running = asyncio.create_task(made.pool.run())
    try:
        yield made
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await made.pool.close("test over")
        made.inference.release()
        await made.loader.close("test over")
        await made.inference.close("test over")
        assert all(child.exit.done() for child in made.nursery.children)
        left = asyncio.all_tasks() - {asyncio.current_task()}
        assert not {task.get_name() for task in left if not task.get_name().startswith("Task-")}


async def accepted_at_once() -> str:
    return ""


def quiet_now() -> asyncio.Event:
    quiet = asyncio.Event()
    quiet.set()
    return quiet


def slow(ms: float = 1000.0) -> ch.Manifest:
    """Return a file that takes that long to load."""
    return replace(MANIFEST, load_ms=ms)


def refused(manifest: ch.Manifest) -> None:
    raise UserError("port: 99999 (agent.py:3) is above 65535; give …")
