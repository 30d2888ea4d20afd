"""The settings in effect: checked, pushed to the parts, and undone as a whole."""

import asyncio
import errno
import os
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from agent_tui.model import child as ch
from agent_tui.model.errors import UserError
from agent_tui.model.events import Event, Notice, OptionsChanged, SettingsChanged
from agent_tui.model.logs import LogLevel
from agent_tui.options.declare import OPTIONS, DefaultsContext, Effect, ServerOptions
from agent_tui.options.envfiles import Environment, FileProblem
from agent_tui.options.resolve import SourcedValue
from agent_tui.settings.manager import LOADS, Edited, SettingsManager, child_settings
from agent_tui.settings.settings import Settings
from tests.generations.support import MANIFEST
from tests.limits import PATIENCE_S

NOTHING = Environment({}, (), ())
PUSHED = tuple(effect for effect in Effect if effect not in (Effect.READ, Effect.RESTART))
EDITS = {
    "port": "9001",
    "wsURL": "ws://new.example",
    "requestFunc": "picky",
    "agentName": "new",
    "loadThreshold": "0.5",
    "numIdleProcesses": "7",
    "jobMemoryLimitMB": "900",
    "logLevel": "debug",
}
"""One edit for each effect."""


NATIVE = DefaultsContext("native")


class Scene:
    """Settings whose parts record what they get."""

    def __init__(self, environment: Environment = NOTHING, context: DefaultsContext = NATIVE) -> None:
        self.events: list[Event] = []
        self.pushed: list[tuple[Effect, ServerOptions]] = []
        self.refusing: dict[Effect, str] = {}
        self.answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        """The server's answer to a changed registration."""
        self.answer.set_result("")
        self.pausing: dict[Effect, asyncio.Event] = {}
        self.environment = environment
        self.settings = SettingsManager(
            Settings(environment, {}, context),
            read_environment=lambda: self.environment,
            emit=self.events.append,
            accept_s=0.05,
        )
        self.settings.push_to(
            {effect: self.owner(effect) for effect in reversed(PUSHED)}, self.wait_until_accepted
        )

    def owner(self, effect: Effect) -> Any:
        async def push(options: ServerOptions) -> None:
            self.pushed.append((effect, options))
            if effect in self.pausing:
                await self.pausing[effect].wait()
            if effect in self.refusing:
                raise UserError(self.refusing[effect])

        return push

    async def wait_until_accepted(self) -> str:
        return await asyncio.shield(self.answer)

    @property
    def effects(self) -> list[Effect]:
        return [effect for effect, _ in self.pushed]

    @property
    def said(self) -> list[str]:
        return [event.text for event in self.events if isinstance(event, Notice)]

    async def edit(self, **values: str | None) -> Edited:
        return await self.settings.edit(lambda settings: settings.edited(values))

    async def load(self, environment: Environment = NOTHING, **code: str) -> None:
        await self.settings.apply(self.settings.check(manifest_with(**code), environment))


def manifest_with(**code: str) -> ch.Manifest:
    options = {name: ch.SetInCode(value, "agent.py:1") for name, value in code.items()}
    return replace(MANIFEST, options=options, function_names=("picky",))


# -- edits -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", EDITS)
async def test_an_edit_is_pushed_to_the_one_owner_of_its_option(name: str) -> None:
    s = Scene()
    effect = next(option.effect for option in OPTIONS if option.name == name)
    edited = await s.edit(**{name: EDITS[name]})
    assert edited.changed.keys() == {name}
    assert s.events == [SettingsChanged(s.settings.current.view), OptionsChanged(edited.changed)]
    assert s.effects == ([] if effect is Effect.READ else [effect])
    assert all(options == s.settings.options for _, options in s.pushed)


async def test_parts_get_an_edit_in_the_order_of_the_effects() -> None:
    s = Scene()
    await s.edit(**EDITS)
    assert s.effects == list(PUSHED)


async def test_an_edit_names_values_without_effect() -> None:
    s = Scene()
    await s.edit(loadThreshold="0.5", workerToken="t")
    assert s.said == ["loadThreshold (edited) has no effect, because workerToken is set"]


async def test_options_that_need_a_restart_are_kept_and_not_pushed() -> None:
    s = Scene()
    assert await s.edit(production="true") == Edited({}, ("production",))
    assert (s.effects, s.events) == ([], [SettingsChanged(s.settings.current.view)])
    assert s.settings.current.later.keys() == {"production"}


@pytest.mark.parametrize("at", PUSHED)
async def test_an_edit_that_a_part_refuses_is_undone_everywhere(at: Effect) -> None:
    s = Scene()
    before = s.settings.current
    s.refusing = {at: "it cannot be"}
    with pytest.raises(UserError, match="it cannot be"):
        await s.edit(**EDITS)
    assert s.settings.current == before
    forth = PUSHED.index(at) + 1
    assert s.effects == [*PUSHED[:forth], *PUSHED]
    assert all(options == before.options for _, options in s.pushed[forth:])
    # a load reports its own failure
    assert s.said == ([] if at in LOADS else ["some old options could not be restored: it cannot be"])


@pytest.mark.parametrize("refusal", ["the server refused it", None])
async def test_an_edit_that_the_server_does_not_accept_is_undone(refusal: str | None) -> None:
    s = Scene()
    before = s.settings.current
    s.answer = asyncio.get_running_loop().create_future()
    if refusal:
        s.answer.set_result(refusal)
    with pytest.raises(UserError, match=refusal or r"the server did not accept them within 0\.05 s"):
        await s.edit(agentName="new", numIdleProcesses="7")
    assert s.settings.current == before
    assert s.effects == [Effect.REGISTRATION, Effect.POOL] * 2


async def test_a_cancelled_edit_is_undone() -> None:
    s = Scene()
    before = s.settings.current
    s.pausing = {Effect.LISTENER: asyncio.Event()}
    editing = asyncio.create_task(s.edit(port="9001"))
    await asyncio.sleep(0)
    s.pausing = {}
    editing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await editing
    assert s.settings.current == before
    assert s.effects == [Effect.LISTENER] * 2


@pytest.mark.parametrize(
    ("edit", "says"),
    [
        ({"port": "70000", "numIdleProcesses": "3"}, "port: '70000' (edited) is above 65535"),
        ({"color": "red"}, "there is no option color"),
        ({"deployment": "a b"}, "deployment"),
    ],
)
async def test_a_bad_value_is_refused_before_anything_is_pushed(edit: dict[str, str], says: str) -> None:
    s = Scene()
    before = s.settings.current
    with pytest.raises(UserError) as raised:
        await s.edit(**edit)
    assert says in str(raised.value)
    assert s.settings.current == before
    assert s.pushed == []


async def test_edits_come_one_at_a_time() -> None:
    s = Scene()
    s.pausing = {Effect.LISTENER: asyncio.Event()}
    s.refusing = {Effect.LISTENER: "port in use"}
    first = asyncio.create_task(s.edit(port="9001"))
    await asyncio.sleep(0)
    second = asyncio.create_task(s.edit(numIdleProcesses="7"))
    await asyncio.sleep(0)
    assert s.effects == [Effect.LISTENER]
    s.pausing[Effect.LISTENER].set()
    with pytest.raises(UserError):
        await first
    await second
    assert s.settings.options.num_idle_processes == 7
    assert s.settings.options.port == 0


async def test_an_edit_may_wait_for_a_load() -> None:
    s = Scene()

    async def reload(_: ServerOptions) -> None:
        await s.load()

    s.settings.push_to({Effect.CODE: reload, Effect.POOL: s.owner(Effect.POOL)}, s.wait_until_accepted)
    async with asyncio.timeout(PATIENCE_S):
        await s.edit(requestFunc="picky", numIdleProcesses="7")
    assert child_settings(s.settings.current).request_func == "picky"


# -- loads -------------------------------------------------------------------------------------------


async def test_a_load_is_pushed_to_all_owners_but_to_loads() -> None:
    s = Scene()
    await s.load(numIdleProcesses="3")
    assert s.effects == [effect for effect in PUSHED if effect not in LOADS]
    assert s.settings.options.num_idle_processes == 3
    assert s.settings.current.function_names == ("picky",)
    assert s.events == [SettingsChanged(s.settings.current.view)]


async def test_a_later_load_says_what_it_changed() -> None:
    s = Scene()
    await s.load(numIdleProcesses="3")
    await s.load(
        Environment({"AGENT_TUI_PORT": SourcedValue("9001", ".env:1")}, (), ()), numIdleProcesses="4"
    )
    assert s.events[-2:] == [
        SettingsChanged(s.settings.current.view),
        OptionsChanged({"numIdleProcesses": (3, 4), "port": (0, 9001)}),
    ]


async def test_a_load_names_values_without_effect() -> None:
    s = Scene()
    await s.load(
        Environment({"LIVEKIT_WORKER_TOKEN": SourcedValue("t", "x")}, (), ()),
        color="red",
        loadThreshold="0.3",
    )
    assert s.said == [
        "loadThreshold (agent.py:1) has no effect, because workerToken is set",
        "color, set in the agent's code, has no effect here",
    ]


async def test_a_check_changes_nothing_and_an_edit_after_it_counts() -> None:
    s = Scene()
    before = s.settings.current
    proposed = s.settings.check(manifest_with(numIdleProcesses="3"), NOTHING)
    assert proposed.options.num_idle_processes == 3
    assert (s.settings.current, s.pushed) == (before, [])
    await s.edit(numIdleProcesses="7")
    await s.settings.apply(proposed)
    assert s.settings.options.num_idle_processes == 7


async def test_an_edit_that_conflicts_with_the_new_file_is_refused_before_pushing() -> None:
    s = Scene()
    proposed = s.settings.check(MANIFEST, NOTHING)
    await s.edit(requestFunc="picky")
    before, s.pushed = s.settings.current, []
    with pytest.raises(UserError, match="picky"):
        await s.settings.apply(proposed)
    assert s.settings.current == before
    assert s.pushed == []


async def test_a_load_that_a_part_refuses_keeps_the_old_settings_and_newer_edits() -> None:
    s = Scene()
    await s.load(numIdleProcesses="3")
    before, s.pushed = s.settings.current, []
    s.pausing, s.refusing = (
        {Effect.REGISTRATION: asyncio.Event()},
        {Effect.REGISTRATION: "it cannot register"},
    )
    loading = asyncio.create_task(s.load(port="9001", numIdleProcesses="4"))
    await asyncio.sleep(0)
    await s.edit(drainTimeout="3")
    s.pausing[Effect.REGISTRATION].set()
    with pytest.raises(UserError, match="it cannot register"):
        await loading
    assert s.settings.current.manifest == before.manifest
    assert s.settings.options.drain_timeout == 3
    assert s.effects == [Effect.LISTENER, Effect.REGISTRATION, Effect.LISTENER]
    assert s.pushed[-1][1].port == before.options.port


async def test_problems_of_the_files_are_reported() -> None:
    problem = ".env:1 is not NAME=value; the line is ignored"
    s = Scene()
    s.environment = Environment({}, (), (FileProblem(problem, Path("/project/.env"), 1),))
    for _ in range(2):
        assert await s.settings.read() is s.environment
    assert s.said == [problem]  # once, not at each load
    s.environment = NOTHING
    await s.settings.read()
    await s.settings.read()
    assert s.said == [problem, f"solved: {problem}"]
    warned, solved = (each for each in s.events if isinstance(each, Notice))
    assert (warned.file, warned.line) == ("/project/.env", 1)
    assert warned.about == solved.about
    assert solved.level is LogLevel.INFO


async def test_the_processes_of_a_load_get_what_was_checked() -> None:
    s = Scene()
    first = child_settings(s.settings.check(manifest_with(sessionEndTimeout="1000"), NOTHING))
    await s.load(sessionEndTimeout="2000")
    assert first.session_end_timeout_ms == 1000
    assert child_settings(s.settings.current).session_end_timeout_ms == 2000


# -- undo and save -----------------------------------------------------------------------------------


async def test_edits_are_undone_one_by_one() -> None:
    s = Scene()
    await s.edit(numIdleProcesses="3")
    await s.edit(numIdleProcesses="4")
    await s.settings.edit(Settings.undone)
    assert s.settings.options.num_idle_processes == 3
    await s.settings.edit(Settings.undone)
    with pytest.raises(UserError, match="no edit"):
        await s.settings.edit(Settings.undone)


async def test_saved_edits_come_from_the_file(tmp_path: Path) -> None:
    s = Scene()
    await s.edit(numIdleProcesses="3", apiSecret="s3cret-of-the-test")
    file = tmp_path / "agent-tui.toml"
    s.environment = Environment({}, (), (), {"numIdleProcesses": SourcedValue(3, "agent-tui.toml")}, file)
    lines = await s.settings.save(tmp_path / "agent.py", clear_secrets=False)
    assert lines[0] == f"numIdleProcesses saved to {file.name}"
    assert "apiSecret is not saved" in lines[1]
    assert file.read_text() == "numIdleProcesses = 3\n"
    assert s.settings.current.edits.keys() == {"apiSecret"}
    assert s.settings.resolution.sources["numIdleProcesses"] == ("config file", "agent-tui.toml")


async def test_a_full_disk_is_a_problem_until_a_save_succeeds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scene, agent = Scene(), tmp_path / "agent.py"
    await scene.edit(numIdleProcesses="3")
    real = os.fsync

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UserError, match="not saved: No space left on device"):
        await scene.settings.save(agent, clear_secrets=False)
    assert scene.events[-1] == Notice(
        LogLevel.ERROR,
        "no space left on device: agent-tui.toml not saved",
        "config file",
        "free space on that disk, then save again",
    )
    monkeypatch.setattr(os, "fsync", real)
    await scene.settings.save(agent, clear_secrets=False)
    notices = [event for event in scene.events if isinstance(event, Notice)]
    assert [each.level for each in notices] == [LogLevel.ERROR, LogLevel.INFO]
    assert notices[-1].about == "config file"


async def test_there_is_nothing_to_save_without_edits(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no edit"):
        await Scene().settings.save(tmp_path / "agent.py", clear_secrets=False)


async def test_an_edit_that_fails_leaves_front_ends_with_the_old_settings() -> None:
    s = Scene()
    old = s.settings.current.view
    s.refusing = {Effect.LISTENER: "it cannot be"}
    with pytest.raises(UserError):
        await s.edit(port="9001")
    assert [event for event in s.events if isinstance(event, SettingsChanged)][-1].settings == old


# -- for front ends ----------------------------------------------------------------------------------


async def test_front_ends_get_plain_data_without_secrets() -> None:
    environment = Environment({"LIVEKIT_URL": SourcedValue("ws://x", "LIVEKIT_URL in .env:3")}, (), ())
    s = Scene()
    await s.load(environment, apiSecret="s3cret-of-the-test", initializeProcessTimeout="9000")
    await s.edit(logLevel="debug", production="true")
    view = s.settings.current.view
    sources = view.resolution.sources
    assert sources["wsURL"] == ("environment", "LIVEKIT_URL in .env:3")
    assert sources["logLevel"] == ("edited", "edited")
    assert view.edited == ("logLevel", "production")
    assert (view.options.production, view.pending) == (False, {"production": "true"})
    assert view.options.log_level == "debug"
    assert view.function_names == ("picky",)
    assert view.can_undo
    assert "s3cret" not in repr(view)
    assert "s3cret" not in repr(s.settings.current.secrets)
    assert s.settings.current.secrets.values["apiSecret"] == "s3cret-of-the-test"


async def test_a_remote_url_comes_with_a_personal_deployment_that_is_never_saved(tmp_path: Path) -> None:
    scene = Scene(context=DefaultsContext("native", personal_deployment="ann-laptop"))
    await scene.edit(wsURL="wss://my.livekit.cloud")
    assert {options.deployment for _, options in scene.pushed} == {"ann-laptop"}  # with the same registration
    assert await scene.settings.save(tmp_path / "agent.py", clear_secrets=False)
    assert (tmp_path / "agent-tui.toml").read_text() == 'wsURL = "wss://my.livekit.cloud"\n'
    await scene.edit(wsURL="ws://localhost:7880")
    assert scene.settings.options.deployment == ""


async def test_a_host_is_remembered_in_the_config_file(tmp_path: Path) -> None:
    scene = Scene()
    text = await scene.settings.allow_remote(tmp_path / "agent.py", "my.livekit.cloud")
    assert text == "allowRemote = my.livekit.cloud saved to agent-tui.toml"
    assert (tmp_path / "agent-tui.toml").read_text() == 'allowRemote = ["my.livekit.cloud"]\n'
    (tmp_path / "agent-tui.toml").unlink()
    (tmp_path / "agent-tui.toml").mkdir()
    with pytest.raises(UserError, match="not saved: not a regular file"):
        await scene.settings.allow_remote(tmp_path / "agent.py", "my.livekit.cloud")
