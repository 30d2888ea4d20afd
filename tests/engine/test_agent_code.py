"""What a loaded file's options do to port, server and registration, while edits come at any moment."""

import asyncio
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from agent_tui.engine.agent_code import AgentCode
from agent_tui.engine.config import RunConfig
from agent_tui.engine.context import Context
from agent_tui.engine.edits import Editor
from agent_tui.engine.endpoint import Endpoint
from agent_tui.engine.servers import Server
from agent_tui.engine.settings import Settings
from agent_tui.logs.store import LogStore
from agent_tui.model import child as ch
from agent_tui.model import events as ev
from agent_tui.model.errors import ServerError, UserError
from agent_tui.options.declare import Basis, ServerOptions
from agent_tui.options.envfiles import Environment
from agent_tui.options.resolve import Given
from agent_tui.runtimes.interpreter import Interpreter
from agent_tui.runtimes.snapshots import Modules
from agent_tui.worker.http import WorkerInfo
from agent_tui.worker.urls import ServerAddress
from tests.engine.test_registrar import options as options_of
from tests.fakes.clock import FakeClock
from tests.generations.support import MANIFEST

GIVEN = {"wsURL": "ws://old.example", "apiKey": "key", "apiSecret": "secret", "port": "8081"}


class Scene:
    """The agent's code over a run that notes what it is asked for; also its pool and its registrar."""

    def __init__(self, folder: Path) -> None:
        self.events: list[Any] = []
        self.ports: list[int] = []
        self.presented: list[tuple[int, str]] = []
        self.closed: list[str] = []
        self.targets: list[int] = []
        self.meanwhile: dict[str, str] = {}
        """Edited while the server is looked for."""
        self.busy: set[int] = set()
        self.refuses = False
        self.refused: list[str] = []
        flags = {name: Given(value, f"--{name}") for name, value in GIVEN.items()}
        config = RunConfig(
            agent=folder / "agent.py",
            cwd=folder,
            read_environment=lambda: Environment({}, (), ()),
            runtime="native",
            interpreter=Interpreter(Path(sys.executable), "3.12", "that of the test", ()),
            flags=flags,
            watch=False,
        )
        self.context = Context(
            config,
            FakeClock(),
            self.events.append,
            Settings(config.read_environment(), flags, Basis("native")),
            LogStore(FakeClock()),
            cast("Any", None),
            self._server("ws://old.example"),
        )
        self.code = AgentCode(
            self.context,
            registrar=cast("Any", self),
            find_server=self._find,
            listen=self._listen,
            switched=lambda _: None,
        )
        cast("Any", self.code.pool).set_target = self.targets.append

    def edit(self, **values: str) -> None:
        self.context.settings = self.context.settings.edited(values)

    def _server(self, url: str) -> Server:
        async def close() -> None:
            self.closed.append(url)

        chosen = ev.ServerChosen(ev.ServerKind.CONFIGURED, url, "", remote=True, media=True)
        return Server(chosen, ServerAddress(url, "key", "secret"), close)

    async def _find(self, options: ServerOptions) -> Server:
        self.edit(**self.meanwhile)
        return self._server(options.ws_url)

    async def _listen(self, options: ServerOptions) -> None:
        if options.port in self.busy:
            raise UserError(f"port {options.port} is in use")
        self.ports.append(options.port)

    async def present(self, options: ServerOptions, address: ServerAddress, *_: object) -> None:
        if self.refuses:
            raise UserError("it cannot register so")
        self.presented.append((options.port, address.url))

    def refuse(self, error: ServerError) -> None:
        self.refused.append(str(error))

    def set_target(self, count: int) -> None:
        self.targets.append(count)


async def test_what_is_edited_while_a_generation_warms_up_counts(tmp_path: Path) -> None:
    s = Scene(tmp_path)
    s.code.check(MANIFEST)
    s.edit(port="9001", wsURL="ws://new.example", numIdleProcesses="7")
    await s.code.apply(MANIFEST)
    assert s.ports == [9001]
    assert s.presented == [(9001, "ws://new.example")]
    assert s.closed == ["ws://old.example"]
    assert s.targets == [7]


async def test_what_is_edited_while_the_server_is_looked_for_counts(tmp_path: Path) -> None:
    s = Scene(tmp_path)
    s.meanwhile = {"port": "9002"}
    s.edit(wsURL="ws://new.example")
    await s.code.apply(MANIFEST)
    assert s.ports == [9002]
    assert s.presented == [(9002, "ws://new.example")]
    assert s.context.settings.options.port == 9002


async def test_an_edit_that_does_not_go_with_the_new_file_is_refused_before_anything_moves(
    tmp_path: Path,
) -> None:
    s = Scene(tmp_path)
    s.code.check(MANIFEST)
    s.edit(requestFunc="picky", port="9001")
    before = s.context.settings
    with pytest.raises(UserError, match="picky"):
        await s.code.apply(MANIFEST)
    assert s.context.settings == before
    assert s.ports == []


async def test_a_port_that_is_taken_leaves_everything_as_it_was(tmp_path: Path) -> None:
    s = Scene(tmp_path)
    s.busy = {9003}
    code = {
        "port": ch.SetInCode("9003", "agent.py:1"),
        "wsURL": ch.SetInCode("ws://new.example", "agent.py:2"),
    }
    s.context.settings = replace(s.context.settings, flags={})
    s.meanwhile = {"numIdleProcesses": "3"}  # this edit is kept
    before, keys = s.context.settings, {"apiKey": "key", "apiSecret": "secret"}
    code |= {name: ch.SetInCode(value, "agent.py:3") for name, value in keys.items()}
    with pytest.raises(UserError, match="9003 is in use"):
        await s.code.apply(replace(MANIFEST, options=code))
    assert s.context.settings.code == before.code
    assert s.context.settings.options.num_idle_processes == 3
    assert s.closed == ["ws://new.example"]
    assert s.context.server.address.url == "ws://old.example"
    assert s.events[-1] == s.context.server.chosen  # the one that is shown is the one that is used
    assert not s.presented


async def test_missing_credentials_do_not_fail_the_load_and_register_once_they_are_there(
    tmp_path: Path,
) -> None:
    s = Scene(tmp_path)
    s.context.settings = replace(s.context.settings, flags={})
    s.edit(wsURL="wss://new.example")
    s.code.check(MANIFEST)
    await s.code.apply(MANIFEST)
    assert [line.partition(":")[0] for line in s.refused] == ["no API key for wss"]
    assert not s.presented
    s.edit(apiKey="key", apiSecret="secret")
    await s.code.apply(MANIFEST)
    assert [url for _, url in s.presented] == ["wss://new.example"]


async def test_a_registration_that_cannot_be_takes_port_and_server_back(tmp_path: Path) -> None:
    s = Scene(tmp_path)
    s.context.settings = replace(s.context.settings, flags={})
    s.edit(wsURL="ws://old.example", apiKey="key", apiSecret="secret")
    s.code.check(MANIFEST)
    await s.code.apply(MANIFEST)
    code = {"port": ch.SetInCode("9004", "agent.py:1"), "agentName": ch.SetInCode("new", "agent.py:2")}
    s.meanwhile = {"numIdleProcesses": "3"}
    before, targets = s.context.settings, len(s.targets)
    s.edit(wsURL="ws://new.example")
    s.refuses = True
    with pytest.raises(UserError, match="cannot register so"):
        await s.code.apply(replace(MANIFEST, options=code))
    assert s.ports[-2:] == [9004, before.options.port]
    assert s.context.server.address.url == "ws://old.example"
    assert s.closed[-1] == "ws://new.example"
    assert s.context.settings.code == before.code
    assert s.context.settings.options.num_idle_processes == 3
    assert len(s.targets) == targets
    assert s.events[-1] == s.context.server.chosen
    s.refuses = False
    await s.code.apply(MANIFEST)
    assert s.context.server.address.url == "ws://new.example"
    assert s.closed[-1] == "ws://old.example"


@pytest.mark.parametrize("taken", [False, True])
async def test_an_edit_that_cannot_be_is_taken_back_and_says_why(taken: bool, tmp_path: Path) -> None:
    s = Scene(tmp_path)
    reconfigured: list[str] = []

    async def register() -> None:
        if s.context.settings.options.agent_name == "new":
            s.busy = {8081} if taken else set()  # somebody takes the old port meanwhile
            raise UserError("it cannot register so")

    class Registrar:
        def reconfigure(self, options: ServerOptions) -> None:
            reconfigured.append(options.agent_name)

    editor = Editor(
        s.context,
        pool=lambda: cast("Any", s),
        registrar=lambda: cast("Any", Registrar()),
        reload=cast("Any", None),
        register=register,
        listen=s._listen,
        load_error=str,
    )
    before = s.context.settings
    with pytest.raises(UserError, match="cannot register so"):
        await editor.apply(
            lambda settings: settings.edited({"agentName": "new", "port": "9005", "numIdleProcesses": "5"})
        )
    assert s.context.settings == before
    assert s.ports == ([9005] if taken else [9005, 8081])
    assert s.targets == [5, before.options.num_idle_processes]
    assert reconfigured == ["new", ""]
    said = [event.text for event in s.events if isinstance(event, ev.Notice)]
    assert any("port 8081 is in use" in text for text in said) is taken


async def test_the_processes_of_a_load_keep_its_settings_whatever_is_loaded_after_it(tmp_path: Path) -> None:
    s = Scene(tmp_path)
    first = s.code.make_runtime({}, Modules())
    for milliseconds in ("1000", "2000"):
        code = {"sessionEndTimeout": ch.SetInCode(milliseconds, "agent.py:1")}
        s.code.check(replace(MANIFEST, options=code))
        await s.code._options.read_environment()
    assert first._settings().session_end_timeout_ms == 1000


@pytest.mark.real
async def test_of_two_that_listen_at_once_the_last_one_has_the_last_word() -> None:
    told: list[Any] = []
    info = WorkerInfo("", "", 0, "", 0.0, agent_name_is_env=False, deployment="", project_type="")
    endpoint = Endpoint(health=lambda: None, info=lambda: info, metrics=bytes, emit=told.append)
    hosts = ("127.0.0.1", "127.0.0.2", "127.0.0.3")
    await asyncio.gather(*(endpoint.listen(options_of(host=host, port=0)) for host in hosts))
    assert "127.0.0.3" in told[-1].url
    await endpoint.close()
