"""How a loaded file's options change port, server, and registration, with edits at any moment."""

import asyncio
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import pytest
from msgspec.structs import replace

from agent_tui.engine.agent_code import AgentCode
from agent_tui.engine.config import RunConfig
from agent_tui.engine.endpoint import Endpoint, WorkerInfo
from agent_tui.engine.servers import Server, ServerManager
from agent_tui.logs.redactor import Redactor
from agent_tui.model import child as ch
from agent_tui.model import events as ev
from agent_tui.model.errors import ServerError, UserError
from agent_tui.options.declare import DefaultsContext, Effect, ServerOptions
from agent_tui.options.envfiles import Environment
from agent_tui.options.resolve import SourcedValue
from agent_tui.processes.pool import Pool
from agent_tui.processes.process import Supervisor
from agent_tui.runtimes.interpreter import Interpreter
from agent_tui.runtimes.python import Modules
from agent_tui.settings.manager import SettingsManager
from agent_tui.settings.settings import Settings
from agent_tui.worker.urls import ServerAddress
from tests.engine.test_registrar import options as options_of
from tests.fakes.clock import FakeClock
from tests.generations.support import MANIFEST, accepted_at_once

GIVEN = {"wsURL": "ws://old.example", "apiKey": "key", "apiSecret": "secret", "port": "8081"}
NOTHING = Environment({}, (), ())


class FakeServers(ServerManager):
    """Finds a server for every address."""

    closed: tuple[str, ...] = ()

    async def while_finding(self) -> None:
        """Called while the server is being found."""

    async def _find(self, options: ServerOptions) -> Server:
        await self.while_finding()
        url = options.ws_url

        async def close() -> None:
            self.closed += (url,)

        chosen = ev.ServerChosen(ev.ServerKind.CONFIGURED, url, "", remote=True, media=True)
        return Server(chosen, ServerAddress(url, "key", "secret"), close)


class Scene:
    """The agent's code over a run that records its calls, and its registrar."""

    def __init__(self, folder: Path, given: Mapping[str, str] = GIVEN) -> None:
        self.events: list[Any] = []
        self.ports: list[int] = []
        self.presented: list[tuple[int, str]] = []
        self.targets: list[int] = []
        self.busy: set[int] = set()
        self.refuses = False
        self.refused: list[str] = []
        flags = {name: SourcedValue(value, f"--{name}") for name, value in given.items()}
        config = RunConfig(
            agent=folder / "agent.py",
            cwd=folder,
            read_environment=lambda: NOTHING,
            runtime="native",
            interpreter=Interpreter(Path(sys.executable), "3.12", "that of the test", ()),
            watch=False,
        )
        emit, clock = self.events.append, FakeClock()
        self.settings = SettingsManager(
            Settings(NOTHING, flags, DefaultsContext("native")), read_environment=lambda: NOTHING, emit=emit
        )
        self.servers = FakeServers(
            self.settings, Redactor(), local=False, clock=clock, emit=emit, on_unassigned=lambda *_: None
        )
        supervisor = Supervisor(self.settings.process_timings, clock, emit)
        self.code = AgentCode(
            config,
            self.settings,
            self.servers,
            cast("Any", self),
            Pool(supervisor, lambda _: None, starting_at_once=1),
            supervisor,
            cast("Any", None),
            cast("Any", None),
        )
        self.settings.push_to(
            {
                Effect.LISTENER: self.listen,
                Effect.REGISTRATION: self.code.register,
                Effect.POOL: lambda options: self.targets.append(options.num_idle_processes),
            },
            wait_until_accepted=accepted_at_once,
        )

    @property
    def options(self) -> ServerOptions:
        return self.settings.options

    async def load(self, **code: str) -> None:
        """Load a file that sets these options."""
        options = {name: ch.SetInCode(value, "agent.py:1") for name, value in code.items()}
        await self.settings.apply(self.settings.check(replace(MANIFEST, options=options), NOTHING))

    async def edit(self, **values: str) -> None:
        await self.settings.edit(lambda settings: settings.edited(values))

    def edit_while_finding(self, **values: str) -> None:
        self.servers.while_finding = lambda: self.edit(**values)  # type: ignore[method-assign]

    async def listen(self, options: ServerOptions) -> None:
        if options.port in self.busy:
            raise UserError(f"port {options.port} is in use")
        self.ports.append(options.port)

    async def register(self, options: ServerOptions, address: ServerAddress, *_: object) -> None:
        if self.refuses:
            raise UserError("it cannot register so")
        self.presented.append((options.port, address.url))

    def refuse(self, error: ServerError) -> None:
        self.refused.append(str(error))


@pytest.fixture
async def scene(tmp_path: Path) -> Scene:
    made = Scene(tmp_path)
    await made.servers.start()
    return made


async def test_an_edit_of_the_server_waits_for_its_reload(scene: Scene) -> None:
    await scene.load()
    await scene.edit(port="9001", wsURL="ws://new.example", numIdleProcesses="7")
    assert scene.presented == [(8081, "ws://old.example")]
    await scene.load()
    assert scene.ports[-1] == 9001
    assert scene.presented[-1] == (9001, "ws://new.example")
    assert scene.servers.closed == ("ws://old.example",)
    assert scene.targets[-1] == 7


async def test_edits_made_while_the_server_is_being_found_apply(scene: Scene) -> None:
    await scene.edit(wsURL="ws://new.example")
    scene.edit_while_finding(port="9002")
    await scene.load()
    assert scene.ports[-1] == 9002
    assert scene.presented == [(9002, "ws://new.example")]
    assert scene.options.port == 9002


async def test_a_port_in_use_leaves_everything_as_it_was(scene: Scene) -> None:
    await scene.load()
    scene.busy = {9003}
    before = scene.settings.current
    await scene.edit(port="8082")
    with pytest.raises(UserError, match="9003 is in use"):
        await scene.edit(port="9003", wsURL="ws://new.example", numIdleProcesses="3")
    assert scene.options.port == 8082
    assert scene.settings.current.manifest == before.manifest
    assert scene.servers.current.address.url == "ws://old.example"
    assert scene.presented == [(8081, "ws://old.example")]


async def test_missing_credentials_do_not_fail_the_load_and_registration_follows_later(
    tmp_path: Path,
) -> None:
    s = Scene(tmp_path, {})
    await s.servers.start()
    await s.edit(wsURL="wss://new.example")
    await s.load()
    assert [line.partition(":")[0] for line in s.refused] == ["no API key for wss"]
    assert not s.presented
    await s.edit(apiKey="key", apiSecret="secret")
    await s.load()
    assert [url for _, url in s.presented] == ["wss://new.example"]


async def test_an_invalid_registration_restores_port_and_server(tmp_path: Path) -> None:
    s = Scene(tmp_path, {name: value for name, value in GIVEN.items() if name != "port"})
    await s.servers.start()
    await s.load()
    before, targets = s.settings.current, len(s.targets)
    await s.edit(wsURL="ws://new.example")
    s.edit_while_finding(drainTimeout="3")  # this edit is kept
    s.refuses = True
    with pytest.raises(UserError, match="cannot register so"):
        await s.load(port="9004", agentName="new")
    assert s.ports[-2:] == [9004, before.options.port]
    assert s.servers.current.address.url == "ws://old.example"
    assert list(s.servers.closed) == ["ws://new.example"]
    assert s.settings.current.manifest == before.manifest
    assert s.options.drain_timeout == 3
    assert len(s.targets) == targets
    shown = [event for event in s.events if isinstance(event, ev.ServerChosen)][-1]
    assert shown == s.servers.current.chosen  # it is the one in use
    s.refuses = False
    await s.load()
    assert list(s.servers.closed) == ["ws://new.example", "ws://old.example"]


async def test_processes_get_the_environment_of_their_load_and_the_server_in_use(scene: Scene) -> None:
    environment = Environment(
        {"sessionEndTimeout": SourcedValue("no", "x"), "A": SourcedValue("1", ".env:1")}, (), ()
    )
    runtime = scene.code.make_runtime(environment, Modules())
    assert runtime.environ["A"] == "1"
    assert runtime.environ["LIVEKIT_URL"] == "ws://old.example"
    await scene.edit(wsURL="ws://new.example")  # the load that follows connects to it
    assert scene.code.make_runtime(environment, Modules()).environ["LIVEKIT_URL"] == "ws://new.example"


async def test_an_invalid_environment_is_refused_by_the_check_and_not_before(scene: Scene) -> None:
    environment = Environment({"AGENT_TUI_PORT": SourcedValue("x", "AGENT_TUI_PORT in .env:1")}, (), ())
    assert scene.code.make_runtime(environment, Modules()).environ["LIVEKIT_URL"] == "ws://old.example"
    with pytest.raises(UserError, match="AGENT_TUI_PORT in"):
        scene.settings.check(MANIFEST, environment)


@pytest.mark.real
async def test_of_two_concurrent_listens_the_last_one_wins() -> None:
    told: list[Any] = []
    info = WorkerInfo("", "", 0, "", 0.0, agent_name_is_env=False, deployment="", project_type="")
    endpoint = Endpoint(health=lambda: None, info=lambda: info, metrics=bytes, emit=told.append)
    hosts = ("127.0.0.1", "127.0.0.2", "127.0.0.3")
    await asyncio.gather(*(endpoint.listen(options_of(host=host, port=0)) for host in hosts))
    assert "127.0.0.3" in told[-1].url
    await endpoint.close()
