"""The job page and the breaches page."""

import re
from pathlib import Path

import pytest
from textual.pilot import Pilot
from textual.widgets import Static

from agent_tui.model import commands as cmd
from agent_tui.model import events as ev
from agent_tui.model.child import MemoryMeasure
from agent_tui.model.logs import LogLevel
from agent_tui.tui.app import AgentTuiApp
from agent_tui.tui.screens.breaches import BreachesPage
from agent_tui.tui.screens.job import JobPage
from agent_tui.tui.widgets.job_text import TIME_LINE_WIDTH, time_line
from agent_tui.tui.widgets.line_list import LineList
from agent_tui.tui.widgets.processes import Processes
from tests.fakes.engine import FakeEngine
from tests.fakes.scripted_child import until
from tests.tui import histories

from .hostile import TEXTS
from .page_host import page_host

SIZES = [(120, 40), (80, 24)]


def crashed(engine: FakeEngine, file: Path) -> None:
    """The busy history, and a job whose code raised in line 2 of that file."""
    histories.busy(engine)
    traceback = (
        f'Traceback (most recent call last):\n  File "{file}", line 2, in entry\n    raise ValueError("no")\n'
        "ValueError: no\n"
    )
    engine.publish(
        ev.Dispatched("salon", "", None, 4),
        ev.OfferReceived("AJ_c", "salon", "", 1, 4),
        ev.OfferAnswered("AJ_c", accepted=True),
        ev.JobAssigned("AJ_c", "salon"),
        histories.process("p9", 99, ev.ProcessState.JOB, job_id="AJ_c"),
        ev.JobStarted("AJ_c", "salon", "p9", 99, 1, True, 5.0, 12.0),
    )
    for second in range(30):
        engine.clock.advance(1.0)
        engine.publish(ev.ProcessMeasured("p9", 40.0 + second, used_mb=40.0 + second))
    engine.store.set_owner("p9", 0, "AJ_c")
    engine.log("about to fail", LogLevel.WARN, "p9")
    engine.publish(
        histories.process(
            "p9", 99, ev.ProcessState.ENDED, job_id="AJ_c", reason="ValueError: no", exit_code=0
        ),
        ev.JobEnded(
            "AJ_c",
            "salon",
            99,
            1,
            ev.JobStatus.FAILED,
            "ValueError: no",
            30.0,
            ev.EndedBy.CRASH,
            0,
            None,
            traceback,
        ),
        warned("p9", 99, "AJ_c", over_limit=True),
        warned("p4", 8126, None),
    )


def warned(process: str, pid: int, job: str | None, *, over_limit: bool = False) -> ev.MemoryWarned:
    return ev.MemoryWarned(
        process, pid, job, 60.0, MemoryMeasure.RSS, 60.0, None, 50.0, 55.0, 40.0, over_limit=over_limit
    )


@pytest.fixture
def agent_file(tmp_path: Path) -> Path:
    file = tmp_path / "agent.py"
    file.write_text('async def entry(ctx):\n    raise ValueError("no")\n')
    return file


async def job_page(app: AgentTuiApp, pilot: Pilot[int], job_id: str) -> JobPage:
    page = JobPage(app.action_handlers.context, job_id)
    app.push_screen(page)
    await until(lambda: app.screen is page)
    await pilot.pause()
    page.repaint()
    await pilot.pause()
    return page


def shown(page: JobPage) -> str:
    return str(page.query_one("#job-text", Static).content)


@pytest.mark.parametrize("size", SIZES)
async def test_the_page_of_a_crashed_job_shows_everything(agent_file: Path, size: tuple[int, int]) -> None:
    engine = FakeEngine()
    crashed(engine, agent_file)
    async with page_host(engine, size=size) as (app, pilot):
        engine.results = [cmd.CommandResult(True, 'Job\n  {"room": "salon"}')]
        page = await job_page(app, pilot, "AJ_c")
        text = shown(page)
        for expected in (
            "✗ crashed  room salon · 30.0 s  failed",
            "entry function raised ValueError",
            "p9 pid 99, generation 1, warm, exit code 0",
            "69 MB, peak 69",
            f'{agent_file.name}", line 2, in entry\n',
            '▸ 2      raise ValueError("no")',
            "about to fail",
        ):
            assert expected in text
        assert text.count('raise ValueError("no")') == 1
        rows = {
            line.split()[0]: line.split("│")[0].split("┤")[0] for line in text.split("\n") if line.strip()
        }
        assert "12 ms" in rows["entry"]
        assert rows["connected"].split()[1:3] == ["–", "–"]
        await pilot.press("2")
        await pilot.pause()
        assert "about to fail" in shown(page)
        assert "crashed" not in shown(page)
        await pilot.press("right")
        await pilot.pause()
        assert '{"room": "salon"}' in shown(page)
        assert cmd.DescribeJob("AJ_c") in engine.commands
        await pilot.press("right")
        await pilot.pause()
        assert "crashed" in shown(page)
        await pilot.press("escape")
        await until(lambda: len(app.screen_stack) == 1)


async def test_an_open_page_follows_its_job(agent_file: Path) -> None:
    engine = FakeEngine()
    histories.busy(engine)
    async with page_host(engine) as (app, pilot):
        page = await job_page(app, pilot, "AJ_Zz81kPpQ0sVb")
        assert "● running" in shown(page)
        engine.log("later", process="p2")
        engine.publish(
            ev.JobConnected("AJ_Zz81kPpQ0sVb", "demo-2", 321.0),
            ev.JobEnded("AJ_Zz81kPpQ0sVb", "demo-2", 8124, 1, ev.JobStatus.SUCCESS, "all said", 2.0),
        )

        def success() -> bool:
            return "✓ success" in shown(page) and "later" in shown(page)

        await until(success)
        assert "321 ms" in shown(page)


async def test_e_opens_the_failing_line(agent_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[tuple[Path, int]] = []
    monkeypatch.setattr(
        "agent_tui.tui.screens.job.open_in_editor", lambda _, file, line: opened.append((file, line))
    )
    engine = FakeEngine()
    crashed(engine, agent_file)
    async with page_host(engine) as (app, pilot):
        await job_page(app, pilot, "AJ_c")
        await pilot.press("e")
        assert opened == [(agent_file, 2)]
        await pilot.press("escape")
        await job_page(app, pilot, "AJ_Zz81kPpQ0sVb")
        await pilot.press("e")
        await until(lambda: any("no failing line" in each.text for each in app.notices))


async def test_enter_on_a_process_without_a_job_says_what_it_is_for(agent_file: Path) -> None:
    engine = FakeEngine()
    crashed(engine, agent_file)
    async with page_host(engine, kind=AgentTuiApp) as (app, pilot):
        table = app.query_one(Processes)
        table.focus()
        await pilot.press("home")
        idle = next(at for at, id in enumerate(table._order) if app.state.processes[id].job_id is None)
        table.move_cursor(row=idle)
        await pilot.press("enter")
        await until(lambda: any("it has no call yet" in each.text for each in app.notices))
        control = next(at for at, id in enumerate(table._order) if app.state.processes[id].pid == 8100)
        table.move_cursor(row=control)
        await pilot.press("enter")
        await until(lambda: any("control: runs" in each.text for each in app.notices))
        assert len(app.screen_stack) == 1


@pytest.mark.parametrize("size", SIZES)
async def test_breaches_are_filtered_and_open_the_job(agent_file: Path, size: tuple[int, int]) -> None:
    engine = FakeEngine()
    crashed(engine, agent_file)
    async with page_host(engine, size=size) as (app, pilot):
        await pilot.press("B")
        await until(lambda: isinstance(app.screen, BreachesPage))
        page = app.screen
        rows = page.query_one(LineList)

        def pids() -> list[str]:
            prompts = [str(rows.get_option_at_index(at).prompt) for at in range(rows.option_count)]
            return [pid[1] for prompt in prompts if (pid := re.search(r"pid (\d+)", prompt))]

        await until(lambda: pids() == ["8126", "99", "8123"])
        await pilot.press("enter")
        await until(lambda: any("no job to open" in each.text for each in app.notices))
        await pilot.press("l")
        await until(lambda: pids() == ["99"])
        assert "peak 69" in str(page.query_one("#breach-memory", Static).content)
        await pilot.press("w")
        await until(lambda: pids() == ["8126", "8123"])
        await pilot.press("slash", *"demo-1")
        await until(lambda: pids() == ["8123"])
        await pilot.press("escape", "a")
        await until(lambda: pids() == ["8126", "99", "8123"])
        await pilot.press("slash", *"99", "enter")
        await until(lambda: pids() == ["99"])
        await pilot.press("enter")
        await until(lambda: isinstance(app.screen, JobPage))
        await pilot.press("escape", "escape")
        await until(lambda: pids() == ["8126", "99", "8123"])
        await pilot.press("escape")
        await until(lambda: len(app.screen_stack) == 1)


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
async def test_outside_text_stays_text_on_these_pages(text: str) -> None:
    engine = FakeEngine()
    histories.idle(engine)
    job_id = text[:5_000]
    engine.store.set_owner("p9", 0, job_id)
    engine.log(text, process="p9")
    traceback = f'Traceback…\n  File "/{text[:2000]}", line 2, in {text}\n    {text}\n{text}'
    engine.publish(
        ev.OfferReceived(job_id, text, "", 1),
        histories.process("p9", 9, ev.ProcessState.JOB, job_id=job_id),
        ev.JobStarted(job_id, text, "p9", 9, 1, True, 1.0, 2.0),
        ev.ProcessMeasured("p9", 10.0, used_mb=10.0),
        ev.ProcessMeasured("p9", float("inf"), used_mb=float("nan")),
        warned("p9", 9, job_id),
        ev.JobEnded(job_id, text, 9, 1, ev.JobStatus.FAILED, text, 1.0, ev.EndedBy.CRASH, 0, 99, traceback),
    )
    async with page_host(engine, size=(80, 24)) as (app, pilot):
        for key in ("j", "B"):
            await pilot.press(key)
            await until(lambda: len(app.screen_stack) == 2)
            await pilot.pause()
            assert "\x1b" not in app.export_screenshot()
            await pilot.press("escape")
            await until(lambda: len(app.screen_stack) == 1)
        engine.results = [cmd.CommandResult(True, text)]
        await job_page(app, pilot, job_id)
        for tab in "123":
            await pilot.press(tab)
            await pilot.pause()
            assert "\x1b" not in app.export_screenshot()
        assert app._exception is None


async def test_space_unfolds_the_frames_of_libraries(agent_file: Path) -> None:
    engine = FakeEngine()
    crashed(engine, agent_file)
    job = engine.bus.state.jobs["AJ_c"]
    frame = (
        '  File "/venv/lib/python3.11/site-packages/livekit/agents/job.py", line 9, in run\n    await f()\n'
    )
    first, *rest = job.traceback.split("\n", 1)
    traceback = f"{first}\n{frame * 6}{rest[0]}"
    engine.publish(
        ev.JobEnded(
            "AJ_c", "salon", 99, 1, ev.JobStatus.FAILED, "no", 1.0, ev.EndedBy.CRASH, 0, None, traceback
        )
    )
    async with page_host(engine, size=(80, 24)) as (app, pilot):
        page = await job_page(app, pilot, "AJ_c")
        assert "… 6 library frames" in shown(page)
        assert "space shows library frames" in shown(page)
        await pilot.press("space")
        await pilot.pause()
        assert shown(page).count("site-packages") == 6
        assert "space hides library frames" in shown(page)
        scroll = page.query_one("#job-scroll")
        await pilot.press("end")
        await until(lambda: scroll.scroll_y == scroll.max_scroll_y > 0)
        await pilot.press("home")
        await until(lambda: scroll.scroll_y == 0)
        await pilot.press("pagedown")
        await until(lambda: scroll.scroll_y > 5)


def test_each_step_until_the_entry_has_a_bar_from_the_step_before_to_it() -> None:
    engine = FakeEngine()
    histories.busy(engine)
    job = engine.bus.state.jobs["AJ_r7Tt2MmN5cXd"]  # 21 ms to the offer, 12 ms to the entry; it ended later
    lines = {line[0].text.split()[0]: line for line in time_line(job, TIME_LINE_WIDTH + 2 + 32)}
    bars = {name: line[3].text[2:] for name, line in lines.items() if len(line) > 3}
    assert bars["offer"] == "█" * 20 + "▌"
    assert bars["accepted"] == " " * 20 + "▐", "no time has passed: a visible mark"
    assert bars["entry"] == " " * 20 + "▐" + "█" * 11
    assert not bars.keys() & {"dispatch", "connected", "end"}
    assert all(len(line) < 4 for line in time_line(job, TIME_LINE_WIDTH + 6)), "no room for bars"
