"""The UI state: what the screen remembers between runs, and what it does with files that it cannot use."""

import errno
import os
import tomllib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from textual.pilot import Pilot

from agent_tui.model.logs import LogLevel
from agent_tui.tui import ui_state_keeper
from agent_tui.tui.app import AgentTuiApp
from agent_tui.tui.preferences import Preferences
from agent_tui.tui.screens.jobs import JobsPage
from agent_tui.tui.ui_state import UiState, read_ui_state, ui_state_file, write_ui_state
from agent_tui.tui.widgets.detail import Detail
from agent_tui.tui.widgets.detail_text import Tab
from agent_tui.tui.widgets.log_filter import Chosen
from agent_tui.tui.widgets.log_pane import LogPane
from agent_tui.tui.widgets.processes import Processes
from agent_tui.tui.widgets.splits import Split, SplitBody
from agent_tui.tui.widgets.start_pane import StartPane
from agent_tui.tui.widgets.table import Order
from tests.fakes.engine import FakeEngine
from tests.fakes.scripted_child import until
from tests.tui import histories
from tests.tui.page_host import page_host

CHANGED = UiState(
    theme="nord",
    tab=Tab.MEMORY,
    splits={"columns": 0.3958, "rows": 0.25},
    sort={"processes": Order("mem", descending=False), "jobs": Order("peak")},
    log_level="warn",
    log_wrap=True,
)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "state" / "agent-tui" / "screen" / "voice-1.toml"


@pytest.fixture(autouse=True)
def no_timer(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tests say when the keeper looks at the screen."""
    monkeypatch.setattr(ui_state_keeper, "PAUSE_S", 1000.0)


async def press(pilot: Pilot[int], *keys: str) -> None:
    """Press keys, and wait until their actions have ended."""
    await pilot.press(*keys)
    await pilot.app.workers.wait_for_complete([each for each in pilot.app.workers if each.group == "actions"])


def pause(app: AgentTuiApp) -> None:
    """Let the pause pass after which a change is saved."""
    app.ui_state.look()
    app.ui_state.look()


@asynccontextmanager
async def screen(
    file: Path | None,
    preferences: Preferences = Preferences(),  # noqa: B008
) -> AsyncIterator[tuple[AgentTuiApp, Pilot[int]]]:
    """Run the dashboard, and quit it as users do."""
    engine = FakeEngine()
    histories.busy(engine)
    running = page_host(engine, kind=AgentTuiApp, ui_state=file, preferences=preferences)
    async with running as (app, pilot):
        yield app, pilot
        app.exit(0)


def shown(app: AgentTuiApp) -> dict[str, object]:
    return {
        "theme": app.theme,
        "tab": app.panel(Detail).tab,
        "splits": dict(app.panel(SplitBody).shares),
        "processes": app.panel(Processes).order,
        "logs": app.panel(LogPane).chosen,
        "wrap": app.panel(LogPane).wrap,
    }


async def test_what_the_user_changes_is_restored_at_the_next_start(
    file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project := tmp_path / "project").mkdir()
    monkeypatch.chdir(project)
    async with screen(file) as (app, pilot):
        fresh = shown(app)
        await press(pilot, "<", "<", "{", "]", "]", "]", "S")
        app.theme = "nord"
        app.panel(LogPane).wrap = True
        app.panel(LogPane).chosen = Chosen(level=LogLevel.WARN, owners=frozenset({"p1"}))
        await pilot.press("j")
        await until(lambda: isinstance(app.screen, JobsPage))
        await pilot.press("S", "escape")
        await until(lambda: len(app.screen_stack) == 1)
        left = shown(app)
    assert left != fresh
    async with screen(file) as (app, pilot):
        assert shown(app) == {**left, "logs": Chosen(level=LogLevel.WARN)}, "the process is of the last run"
        assert app.theme == "nord"
        assert app.panel(Detail).tab is Tab.MEMORY
        await pilot.press("j")
        await until(lambda: isinstance(app.screen, JobsPage))
        assert app.screen.table.order.column  # type: ignore[attr-defined]
        assert not app.notices
    assert not list(project.iterdir())


def test_the_file_is_read_as_it_was_written(file: Path) -> None:
    write_ui_state(file, CHANGED)
    assert read_ui_state(file) == CHANGED
    assert tomllib.loads(file.read_text())["sort"]["processes"] == {"column": "mem", "descending": False}
    write_ui_state(file, UiState())
    assert (file.read_text(), read_ui_state(file)) == ("", UiState())


async def test_it_is_saved_a_moment_after_a_change_not_at_each_key(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[UiState] = []

    def write(path: Path, state: UiState) -> None:
        written.append(state)
        write_ui_state(path, state)

    monkeypatch.setattr(ui_state_keeper, "write_ui_state", write)
    async with screen(file) as (app, pilot):
        for _ in range(5):
            await press(pilot, "<")
            app.ui_state.look()
        assert not written
        app.ui_state.look()
        await until(lambda: file.exists())
        assert read_ui_state(file).splits == {"columns": app.panel(SplitBody).shares[Split.COLUMNS]}
        await press(pilot, "]")
    assert len(written) == 2, "the second one when the screen closed"
    assert read_ui_state(file).tab is Tab.JOB


async def test_nothing_is_written_while_nothing_changes(file: Path) -> None:
    async with screen(file) as (app, pilot):
        await press(pilot, "down", "3", "up", "f10", "f10", "1")
        pause(app)
    assert not file.exists()
    write_ui_state(file, CHANGED)
    before = file.stat()
    async with screen(file) as (app, pilot):
        pause(app)
    assert (file.stat().st_mtime_ns, file.stat().st_ino) == (before.st_mtime_ns, before.st_ino)
    async with screen(file) as (app, pilot):
        await press(pilot, "]", "[")
        pause(app)
    assert file.stat().st_ino == before.st_ino, "back where it was"


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("theme = ", "Invalid value"),
        ("tab = 3", "tab: Expected `str`, got `int`"),
        ("tab = 'Horoscope'", "tab: Invalid enum value 'Horoscope'"),
        ("theme = 'pink'", "theme: 'pink' is not a theme"),
        ("splits = {columns = 1.5}", "splits[...]: Expected `float` < 1.0"),
        ("splits = {columns = nan}", "splits[...]: Expected `float`"),
        ("sort = {processes = 'mem'}", "sort[...]: Expected `object`, got `str`"),
        ("\udcff", "invalid start byte"),
        ("#" * 2**17, "it is larger than 64"),
        (f"sort = {'[' * 5000}", "it is nested too deeply"),
    ],
)
def test_a_broken_file_says_what_is_wrong(file: Path, content: str, why: str) -> None:
    file.parent.mkdir(parents=True)
    file.write_bytes(content.encode("utf-8", "surrogateescape"))
    with pytest.raises((OSError, ValueError)) as error:
        read_ui_state(file)
    assert why in str(error.value)
    assert "\n" not in str(error.value)


async def test_a_broken_file_is_ignored_with_one_line(file: Path) -> None:
    file.parent.mkdir(parents=True)
    file.write_text("[splits]\ncolumns = 0.3\n[sort]\nprocesses = 'mem'\n")
    async with screen(file) as (app, pilot):
        (notice,) = app.notices
        why = "sort[...]: Expected `object`, got `str`"
        assert (notice.text, notice.failed) == (f"layout not restored: {why} · {file}", True)
        assert not app.panel(SplitBody).shares
        await press(pilot, "]")
    assert read_ui_state(file) == UiState(tab=Tab.JOB), "the next change replaces it"


async def test_a_folder_in_place_of_the_file_does_no_harm(file: Path) -> None:
    file.mkdir(parents=True)
    async with screen(file) as (app, pilot):
        assert "layout not restored" in app.notices[-1].text
        await press(pilot, "]")
        pause(app)
        await until(lambda: "layout not saved: " in app.notices[-1].text)


async def test_a_read_only_folder_is_reported_once(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def write(path: Path, state: UiState) -> None:
        raise PermissionError(13, "Permission denied", str(path.parent))  # for root too

    monkeypatch.setattr(ui_state_keeper, "write_ui_state", write)
    async with screen(file) as (app, pilot):
        assert not app.notices
        await press(pilot, "]")
        pause(app)
        await until(lambda: app.notices)
        assert app.notices[-1].text == f"layout not saved: Permission denied · {file}"
        await press(pilot, "]")
        pause(app)
        await pilot.pause()
        assert len(app.notices) == 1


async def test_a_full_disk_is_a_problem_until_the_layout_is_saved(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, state: UiState) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    monkeypatch.setattr(ui_state_keeper, "write_ui_state", full)
    async with screen(file) as (app, pilot):
        await press(pilot, "]")
        pause(app)
        await until(lambda: app.panel(StartPane).own)
        app.show()
        problem = app.panel(StartPane).found[-1]
        assert problem.cause == "no space left on device: layout not saved"
        assert problem.todo.startswith("delete files on that disk, or raise the quota · ")
        await press(pilot, "escape")
        assert problem not in app.panel(StartPane).found
        monkeypatch.setattr(ui_state_keeper, "write_ui_state", write_ui_state)
        await press(pilot, "]")
        pause(app)
        await until(lambda: not app.panel(StartPane).own)


async def test_unknown_keys_and_columns_are_ignored(file: Path) -> None:
    file.parent.mkdir(parents=True)
    file.write_text(
        'future = 1\ntab = "Memory"\n[splits]\ndiagonal = 0.5\n[sort.processes]\ncolumn = "luck"\n'
    )
    async with screen(file) as (app, _):
        assert not app.notices
        assert app.panel(Detail).tab is Tab.MEMORY
        assert app.panel(Processes).order == Order()


async def test_the_theme_of_the_config_file_wins(file: Path) -> None:
    write_ui_state(file, CHANGED)
    async with screen(file, Preferences("gruvbox")) as (app, _):
        assert app.theme == "gruvbox"
        assert app.panel(Detail).tab is Tab.MEMORY
    assert read_ui_state(file) == CHANGED, "the picked theme comes back when the config file has none"
    async with screen(file, Preferences("gruvbox")) as (app, _):
        app.theme = "textual-light"
    assert read_ui_state(file).theme == "textual-light"


def test_each_project_has_its_file(tmp_path: Path) -> None:
    environ = {"HOME": str(tmp_path), "XDG_STATE_HOME": str(tmp_path / "state")}
    for name in ("a/voice", "b/voice"):
        (tmp_path / name / "src").mkdir(parents=True)
        (tmp_path / name / "pyproject.toml").touch()
    files = {
        agent: ui_state_file(environ, tmp_path / agent)
        for agent in ("a/voice/agent.py", "a/voice/src/other.py", "b/voice/agent.py")
    }
    assert files["a/voice/agent.py"] == files["a/voice/src/other.py"]
    assert files["a/voice/agent.py"] != files["b/voice/agent.py"]
    assert {each.parent for each in files.values()} == {tmp_path / "state/agent-tui/screen"}
    assert all(each.name.startswith("voice-") for each in files.values())
    assert ui_state_file({"HOME": "/home/ann"}, Path("/agent.py")).is_relative_to("/home/ann/.local/state")


async def test_without_a_file_nothing_is_saved_but_pages_remember(tmp_path: Path) -> None:
    async with screen(None) as (app, pilot):
        await press(pilot, "]")
        await pilot.press("j")
        await until(lambda: isinstance(app.screen, JobsPage))
        await pilot.press("S", "escape")
        await until(lambda: bool(app.ui_state.order_of("jobs").column))
        pause(app)
    assert not list(tmp_path.iterdir())
