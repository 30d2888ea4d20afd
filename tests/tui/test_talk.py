"""The Talk tab and its page: what is shown, and what each key does."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from msgspec.structs import replace
from textual import events
from textual.pilot import Pilot
from textual.widgets import Static

from agent_tui.model import commands as cmd
from agent_tui.model import events as ev
from agent_tui.model import session_events as se
from agent_tui.tui.app import AgentTuiApp
from agent_tui.tui.preferences import Preferences
from agent_tui.tui.screens.job import JobPage
from agent_tui.tui.screens.pick import Pick
from agent_tui.tui.screens.talk import ContextPage, TalkPage
from agent_tui.tui.talk_export import JSON, MARKDOWN, as_json, as_markdown, save
from agent_tui.tui.widgets.detail import Detail
from agent_tui.tui.widgets.detail_text import Tab
from agent_tui.tui.widgets.first_turns import FirstTurns
from agent_tui.tui.widgets.key_bar import KeyBar
from agent_tui.tui.widgets.log_view import LogView
from agent_tui.tui.widgets.processes import Processes, entries
from agent_tui.tui.widgets.status_line import StatusLine
from agent_tui.tui.widgets.talk_input import NEWLINE
from agent_tui.tui.widgets.talk_notes import head_line, why_none, why_none_of_job
from agent_tui.tui.widgets.talk_pane import TalkPane
from agent_tui.tui.widgets.talk_steps import Limits
from agent_tui.tui.widgets.text import Line
from tests.fakes.engine import FakeEngine
from tests.fakes.scripted_child import until
from tests.tui import histories
from tests.tui.histories import TALKING, said
from tests.tui.hostile import TEXTS
from tests.tui.page_host import page_host, painted

KEY = (TALKING, 1)


def plain(line: Line) -> str:
    return "".join(span.text for span in line).rstrip()


@asynccontextmanager
async def talking(
    size: tuple[int, int] = (120, 40), *keys: str, **more: object
) -> AsyncIterator[tuple[FakeEngine, AgentTuiApp, Pilot[int], TalkPane]]:
    """Yield the dashboard with the conversation of the history `talk`, after pressing these keys."""
    engine = FakeEngine()
    histories.talk(engine)
    async with page_host(engine, kind=AgentTuiApp, size=size, **more) as (app, pilot):  # type: ignore[arg-type]
        await pilot.press(*keys)
        await pilot.pause()
        yield engine, app, pilot, app.screen.query_one(TalkPane)


def rows(pane: TalkPane) -> list[str]:
    """Return all rows of the conversation, without times."""
    lines = (plain(pane.view.rows.at(row)[1]) for row in range(len(pane.view.rows)))
    return [line[:-8].rstrip() if line[-3:-2] == ":" and line[-6:-5] == ":" else line for line in lines]


def head(pane: TalkPane) -> str:
    return str(pane.query_one("#talk-head", Static).render())


async def status(app: AgentTuiApp, text: str) -> None:
    """Wait until the status line of the page, or else of the dashboard, contains the text."""
    await until(lambda: any(text in str(each.render()) for each in app.screen.query(StatusLine)))


async def typed(pilot: Pilot[int], text: str) -> None:
    await pilot.press(*("space" if char == " " else char for char in text))


# -- the tab -----------------------------------------------------------------------------------------------


async def test_talk_is_the_first_tab_and_shows_the_selected_call() -> None:
    async with talking() as (_, app, pilot, pane):
        detail = app.query_one(Detail)
        assert next(iter(Tab)) is Tab.TALK is detail.tab
        assert detail.is_talking
        assert rows(pane)[0] == "agent  Good evening, this is the front"
        assert rows(pane)[-1] == "you    ◌ queued  for two nights"
        assert head(pane).startswith("▶ speaking · gen 1 · text only · billing · 990 tok")
        await pilot.press("down")  # a job without a session
        await until(lambda: not detail.is_talking)
        text = app.query_one("#detail-text", Static)
        await until(lambda: "has not started an\nAgentSession" in str(text.render()))
        await pilot.press("up")
        await until(lambda: detail.is_talking)


async def test_a_reply_appears_as_it_streams() -> None:
    async with talking() as (engine, app, pilot, pane):
        assert rows(pane)[-2] == "agent  Lovely, the attic is"
        engine.publish(se.MessageDelta(*KEY, 4, " yours."))
        await painted(app, engine, pilot)
        assert rows(pane)[-2] == "agent  Lovely, the attic is yours."
        assert pane.view.is_vertical_scroll_end


async def test_enter_opens_talk_then_moves_into_its_input_and_escape_goes_back() -> None:
    async with talking((120, 40), "right_square_bracket") as (_, app, pilot, pane):
        detail = app.query_one(Detail)
        assert detail.tab is Tab.JOB
        await pilot.press("enter")
        await until(lambda: detail.is_talking)
        assert isinstance(app.focused, Processes)
        await pilot.press("enter")
        await until(lambda: app.focused is pane.input)
        await pilot.press("escape")
        await until(lambda: isinstance(app.focused, Processes))


async def test_on_a_narrow_terminal_enter_first_shows_the_tabs() -> None:
    async with talking((80, 24)) as (_, app, pilot, pane):
        assert not pane.region
        await pilot.press("enter")
        await until(lambda: pane.region)
        assert isinstance(app.focused, Processes)
        await pilot.press("enter")
        await until(lambda: app.focused is pane.input)


async def test_d_starts_a_job_and_never_moves_the_focus() -> None:
    async with talking() as (engine, app, pilot, pane):
        await pilot.press("d")
        await until(lambda: engine.commands == [cmd.Dispatch()])
        assert app.query_one(Processes).has_focus
        await pilot.press("2", "d")
        await until(lambda: len(engine.commands) == 2)
        assert pane.view.has_focus


async def test_enter_on_a_job_without_a_session_says_why() -> None:
    async with talking((120, 40), "down") as (_, app, pilot, _pane):
        await pilot.press("enter")
        await status(app, "has not started an AgentSession")
        assert isinstance(app.focused, Processes)


async def test_an_ended_conversation_stays_and_is_for_reading() -> None:
    async with talking((120, 40), "enter", "escape") as (engine, app, pilot, pane):
        engine.publish(
            se.SessionEnded(*KEY, "user_initiated"),
            histories.process("p1", 8123, ev.ProcessState.ENDED, job_id=TALKING, exit_code=0),
        )
        await painted(app, engine, pilot)
        assert rows(pane)[-1].startswith("── session ended at 08:00:19: closed ──")
        assert head(pane).startswith("■ ended")
        await pilot.press("enter")
        await until(lambda: pane.view.has_focus)
        await pilot.press("ctrl+g")
        await status(app, "nothing to interrupt: the session has ended")
        assert engine.commands == []


# -- typing ------------------------------------------------------------------------------------------------


async def test_enter_sends_a_turn_to_the_session_and_clears_the_line() -> None:
    async with talking((120, 40), "enter") as (engine, _, pilot, pane):
        await typed(pilot, "d q / hi")
        await pilot.press("enter")
        await until(lambda: engine.commands == [cmd.Say(TALKING, "d q / hi", 1)])
        assert pane.input.value == ""
        await pilot.press("space", "enter")
        await pilot.pause()
        assert len(engine.commands) == 1


async def test_keys_after_enter_belong_to_the_next_turn() -> None:
    async with talking((120, 40), "enter") as (engine, app, _pilot, pane):
        for key in ("o", "n", "e", "enter", "t", "w", "o"):
            app.post_message(events.Key(key, None if key == "enter" else key))
        await until(lambda: pane.input.value == "two")
        await until(lambda: engine.commands == [cmd.Say(TALKING, "one", 1)])


async def test_up_brings_back_what_was_sent_and_down_what_is_typed() -> None:
    async with talking((120, 40), "enter") as (_, _app, pilot, pane):
        for text in ("one", "two", "one"):
            await typed(pilot, text)
            await pilot.press("enter")
        await typed(pilot, "new")
        shown = []
        for key in ("up", "up", "up", "down", "down", "down"):
            await pilot.press(key)
            shown.append(pane.input.value)
        assert shown == ["one", "two", "two", "one", "new", "new"]


@pytest.mark.parametrize("size", [(50, 15), (80, 24)])
async def test_the_input_is_visible_in_a_small_terminal(size: tuple[int, int]) -> None:
    async with talking(size, "2", "enter") as (_engine, app, _pilot, pane):
        assert pane.input.has_focus
        assert app.screen.find_widget(pane.input).visible_region.height == 1


@pytest.mark.parametrize("end", ["\n", "\r", "\r\n"])
async def test_pasted_lines_are_one_turn(end: str) -> None:
    async with talking((120, 40), "enter") as (engine, _app, pilot, pane):
        pane.input.post_message(events.Paste(f"first{end}  second{end}\x1b[31mthird{end}"))
        await until(lambda: pane.input.value == f"first{NEWLINE}  second{NEWLINE}third")
        await pilot.press("enter")
        await until(lambda: engine.commands == [cmd.Say(TALKING, "first\n  second\nthird", 1)])


async def test_a_refused_turn_comes_back() -> None:
    async with talking((120, 40), "enter") as (engine, app, pilot, pane):
        engine.results = [cmd.CommandResult(False, "job AJ has no open session")]
        await typed(pilot, "hi")
        await pilot.press("enter")
        await status(app, "no open session")
        await until(lambda: pane.input.value == "hi")


async def test_a_turn_to_a_session_that_ended_while_typing_is_not_sent() -> None:
    async with talking((120, 40), "enter") as (engine, app, pilot, pane):
        await typed(pilot, "hi")
        engine.publish(se.SessionEnded(*KEY, "done"))
        await painted(app, engine, pilot)
        await pilot.press("enter")
        await status(app, "this session has ended")
        await until(lambda: pane.input.value == "hi")
        assert engine.commands == []


async def test_ctrl_g_interrupts_the_reply_from_anywhere_on_the_dashboard() -> None:
    async with talking() as (engine, _, pilot, _pane):
        for keys in (("ctrl+g",), ("2", "ctrl+g"), ("enter", "ctrl+g"), ("escape", "3", "ctrl+g")):
            count = len(engine.commands)
            await pilot.press(*keys)
            await until(lambda count=count: len(engine.commands) == count + 1)  # type: ignore[misc]
            assert engine.commands[-1] == cmd.Interrupt(TALKING, 1)


async def test_page_keys_scroll_while_typing() -> None:
    async with talking((120, 24), "enter") as (_, app, pilot, pane):
        end = pane.view.scroll_y
        assert end > 0
        await pilot.press("pageup")
        await until(lambda: pane.view.scroll_y < end)
        assert app.focused is pane.input
        assert "‖ paused" in head(pane)
        await typed(pilot, "hi")
        await pilot.press("enter")
        await until(lambda: pane.view.scroll_y == end)


# -- reading -----------------------------------------------------------------------------------------------


async def test_arrows_select_messages_and_space_unfolds_a_tool_call() -> None:
    async with talking((120, 40), "2") as (_, app, pilot, pane):
        await pilot.press("home", "down", "down")
        block = pane.view.selected
        assert block is not None
        assert block.text.startswith('find_rooms(day="Fri") ✓ 120 ms')
        assert '  "day": "Fri"' not in "\n".join(rows(pane))
        await pilot.press("space")
        assert '         "day": "Fri"' in rows(pane)
        await pilot.press("enter")
        assert '         "day": "Fri"' not in rows(pane)
        await pilot.press("z", "Z")  # unfold it; fold all
        assert '         "day": "Fri"' not in rows(pane)
        await pilot.press("Z")
        assert any("thinking" in row and "312 ms" in row and "━" in row for row in rows(pane))
        assert "‖ paused" in head(pane)
        await pilot.press("f")
        assert pane.view.follow
        await pilot.press("enter")
        await until(lambda: app.focused is pane.input)
        await pilot.press("escape")
        await until(lambda: app.focused is pane.view)
        await pilot.press("escape")
        await until(lambda: isinstance(app.focused, Processes))


async def test_y_copies_the_selected_message_or_the_last_one(monkeypatch: pytest.MonkeyPatch) -> None:
    copied: list[str] = []
    monkeypatch.setattr(AgentTuiApp, "copy_to_clipboard", lambda _, text: copied.append(text))
    async with talking((120, 40), "2") as (_, app, pilot, _pane):
        await pilot.press("y", "home", "y")
        await until(lambda: len(copied) == 2)
        assert copied == ["for two nights", "Good evening, this is the front desk. How can I help you?"]
        await status(app, "copied 57 characters")


async def test_slash_finds_in_the_conversation_and_m_keeps_only_matches() -> None:
    async with talking((120, 40), "2") as (_, app, pilot, pane):
        total = len(pane.view.rows)
        await pilot.press("slash")
        await typed(pilot, "attic")
        await until(lambda: "/attic 4/4" in head(pane))
        await pilot.press("up", "down", "enter")
        await until(lambda: app.focused is pane.view)
        await pilot.press("n")
        await until(lambda: "/attic 1/4" in head(pane))
        await pilot.press("N")
        await until(lambda: "/attic 4/4" in head(pane))
        await pilot.press("m")
        await until(lambda: "4/4 only" in head(pane))
        assert len(pane.view.rows) < total
        await pilot.press("escape")
        assert len(pane.view.rows) == total
        assert app.focused is pane.view


async def test_a_search_without_a_match_says_so() -> None:
    async with talking((120, 40), "2", "slash") as (_, _app, pilot, pane):
        await typed(pilot, "zzz")
        await until(lambda: "/zzz 0 matches" in head(pane))
        await pilot.press("ctrl+o")
        await until(lambda: len(pane.view.rows) == 0)
        assert "no block contains this text" in pane.view.render_line(0).text
        await pilot.press("escape", "3", "slash", "a")  # in the logs, it finds log lines
        assert isinstance(pane.app.screen.query_one(LogView), LogView)
        assert pane.view.rows.needle == ""


async def test_a_click_selects_a_message_and_a_double_click_unfolds_it() -> None:
    async with talking() as (_, _app, pilot, pane):
        row = next(at for at, text in enumerate(rows(pane)) if "find_rooms(" in text)
        row -= int(pane.view.scroll_y)
        await pilot.click(pane.view, offset=(3, row), times=2)
        await until(lambda: '         "day": "Fri"' in rows(pane))


async def test_500_turns_paint_only_the_rows_in_view() -> None:
    engine = FakeEngine()
    histories.talk(engine)
    for number in range(5, 505):
        engine.publish(
            se.TurnStarted(*KEY, number, True, 2, "again"),
            said(number, se.Role.USER, "again", 2),
            said(number, se.Role.ASSISTANT, f"answer {number} " * 10, 2),
            se.TurnEnded(*KEY, number, True, 500.0, 100.0, {}),
        )
    async with page_host(engine, "C", kind=AgentTuiApp) as (app, pilot):
        view = app.screen.query_one(TalkPane).view
        await until(lambda: len(view.rows) > 1_500)
        assert "answer 504" in view.render_line(view.size.height - 3).text
        assert len(view._strips) < 100
        await pilot.press("escape", "home")
        await until(lambda: view.scroll_y == 0)
        assert "Good evening" in view.render_line(0).text


# -- several sessions --------------------------------------------------------------------------------------


async def test_the_newest_open_session_is_shown_and_arrows_switch() -> None:
    async with talking((120, 40), "2") as (engine, app, pilot, pane):
        engine.publish(
            se.SessionStarted(TALKING, 2, "upstairs", False, 2), said(0, se.Role.ASSISTANT, "Second", 2, 2)
        )
        await painted(app, engine, pilot)
        assert rows(pane) == ["agent  Second"]
        assert head(pane).startswith("session 2/2 ← → · gen 2 · upstairs")
        await pilot.press("left")
        assert rows(pane)[0].startswith("agent  Good evening")
        assert head(pane).startswith("session 1/2")
        await pilot.press("right")
        assert rows(pane) == ["agent  Second"]
        engine.publish(se.SessionEnded(TALKING, 2, "done"))
        await painted(app, engine, pilot)
        assert head(pane).startswith("session 2/2 ← → · ■ ended")  # the user picked it


async def test_each_session_keeps_what_was_typed_to_it() -> None:
    async with talking((120, 40), "enter") as (engine, app, pilot, pane):
        await typed(pilot, "hi")
        engine.publish(se.SessionStarted(TALKING, 2, "upstairs", True, 2))
        await painted(app, engine, pilot)
        assert pane.session is not None
        assert (pane.session.number, pane.input.value) == (1, "hi")  # it does not go away while one types
        await pilot.press("escape", "2", "right")
        await until(lambda: pane.input.value == "")
        await pilot.press("left")
        await until(lambda: pane.input.value == "hi")


# -- the page, the context, and exports --------------------------------------------------------------------


async def test_the_page_shows_the_same_and_escape_closes_it() -> None:
    engine = FakeEngine()
    histories.talk(engine)
    async with page_host(engine, kind=AgentTuiApp, size=(100, 30)) as (app, pilot):
        await pilot.press("C")
        await until(lambda: isinstance(app.screen, TalkPage))
        pane = app.screen.query_one(TalkPane)
        await until(lambda: app.focused is pane.input)
        assert rows(pane)[0] == "agent  Good evening, this is the front desk. How can I help you?"
        await typed(pilot, "hi")
        await pilot.press("enter")
        await until(lambda: engine.commands == [cmd.Say(TALKING, "hi", 1)])
        await pilot.press("ctrl+g")
        await until(lambda: engine.commands[-1] == cmd.Interrupt(TALKING, 1))
        engine.publish(se.MessageDelta(*KEY, 4, " yours."))
        await painted(app, engine, pilot)
        assert rows(pane)[-2] == "agent  Lovely, the attic is yours."
        await pilot.press("escape")
        await until(lambda: app.focused is pane.view)
        await pilot.press("slash")
        await typed(pilot, "attic")
        await until(lambda: "/attic 4/4" in head(pane))
        await pilot.press("escape", "escape")
        await until(lambda: len(app.screen_stack) == 1)


async def test_the_page_of_a_job_opens_its_conversation() -> None:
    engine = FakeEngine()
    histories.talk(engine)
    async with page_host(engine) as (app, pilot):
        await app.push_screen(JobPage(app.action_handlers.context, TALKING))
        await until(lambda: isinstance(app.screen, JobPage))
        await until(lambda: "C Conversation" in str(app.screen.query_one(KeyBar).render()))
        await pilot.press("C")
        await until(lambda: isinstance(app.screen, TalkPage))
        pane = app.screen.query_one(TalkPane)
        await until(lambda: len(pane.view.rows) > 0)
        assert rows(pane)[0].startswith("agent  Good evening")


async def test_the_page_waits_for_a_session() -> None:
    engine = FakeEngine()
    histories.talk(engine)
    async with page_host(engine, kind=AgentTuiApp) as (app, pilot):
        await pilot.press("down", "C")
        await until(lambda: isinstance(app.screen, TalkPage))
        note = app.screen.query_one("#talk-none", Static)
        assert "has not started an AgentSession" in str(note.render())
        engine.publish(se.SessionStarted("AJ_Zz81kPpQ0sVb", 1, "late", True, 1))
        await painted(app, engine, pilot)
        pane = app.screen.query_one(TalkPane)
        await until(lambda: app.focused is pane.input)
        assert "Nothing has been said yet" in pane.view.render_line(0).text
        await pilot.press("escape", "q")
        await until(lambda: len(app.screen_stack) == 1)


async def test_the_context_of_the_llm(monkeypatch: pytest.MonkeyPatch) -> None:
    copied: list[str] = []
    monkeypatch.setattr(AgentTuiApp, "copy_to_clipboard", lambda _, text: copied.append(text))
    async with talking() as (engine, app, pilot, _pane):
        answer = json.dumps({"id": "desk", "instructions": "Be brief.", "tools": ["find"], "chat_ctx": []})
        engine.results = [cmd.CommandResult(True, answer), cmd.CommandResult(False, "no answer within 10 s")]
        await pilot.press("I")
        await until(lambda: isinstance(app.screen, ContextPage))
        text = app.screen.query_one("#page-box Static", Static)
        await until(lambda: "Be brief." in str(text.render()))
        assert engine.commands == [cmd.InspectSession(TALKING, 1)]
        await pilot.press("c")
        assert copied == [answer]
        await pilot.press("r")
        await until(lambda: "no answer within 10 s" in str(text.render()))
        await pilot.press("escape")
        await until(lambda: len(app.screen_stack) == 1)


async def test_x_saves_the_conversation_in_the_form_that_is_picked(tmp_path: Path) -> None:
    async with talking((120, 40), "2", preferences=Preferences(exports=tmp_path)) as (_, app, pilot, _pane):
        for keys, suffix, first in ((("enter",), "md", "# Conversation"), (("down", "enter"), "json", "{")):
            await pilot.press("X")
            await until(lambda: isinstance(app.screen, Pick))
            await pilot.press(*keys)
            await until(lambda suffix=suffix: list(tmp_path.glob(f"*.{suffix}")))  # type: ignore[misc]
            (path,) = tmp_path.glob(f"*.{suffix}")
            await until(lambda path=path, first=first: path.read_text().startswith(first))  # type: ignore[misc]
            await status(app, path.name)


async def test_a_folder_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    preferences = Preferences(exports=tmp_path / "file" / "below")
    async with talking((120, 40), "2", preferences=preferences) as (_, app, pilot, _pane):
        await pilot.press("X")
        await until(lambda: isinstance(app.screen, Pick))
        await pilot.press("enter")
        await status(app, "conversation not saved:")


def test_exports_have_everything_that_happened(tmp_path: Path) -> None:
    engine = FakeEngine()
    histories.talk(engine)
    session = engine.state.sessions[f"{TALKING}/1"]
    data = json.loads(as_json(session))
    assert [turn["turn"] for turn in data["turns"]] == [0, 1, 2, 3, 4]
    assert [entry["type"] for entry in data["turns"][2]["entries"]] == [
        "message",
        "tool_call",
        "handoff",
        "message",
    ]
    assert data["turns"][1]["entries"][1]["output"] == "['garden view, 90 €', 'attic, 75 €']"
    assert data["turns"][3]["error"] == "the LLM failed"
    assert data["usage"] == [
        {"model": "gpt-5", "provider": "openai", "input_tokens": 900.0, "output_tokens": 90.0, "cost": None}
    ]
    text = as_markdown(session)
    for part in (
        "> any room on Friday?",
        "tool `find_rooms` returned, 120 ms",
        "Generation 1 → 2",
        "— interrupted",
    ):
        assert part in text
    for form in (MARKDOWN, JSON):
        assert save(session, form, tmp_path / "new").read_text()


def test_a_failed_load_and_a_pin_are_lines_of_the_conversation() -> None:
    engine = FakeEngine()
    histories.talk(engine)
    session = f"{TALKING}/1"
    engine.publish(ev.GenerationFailed(engine.state.generation.current, "KeyError", None, None, ""))
    before = len(engine.state.sessions[session].turns[-1].entries)
    for event in (
        ev.GenerationFailed(7, "SyntaxError: expected ':'", "agent.py", 3, ""),
        ev.JobPinned(TALKING, "demo-1", 2, pinned=True),
        ev.GenerationFailed(8, "no line for a pinned job", None, None, ""),
        ev.JobPinned(TALKING, "demo-1", 2, pinned=False),
    ):
        engine.publish(event)
    notes = [
        "generation 7 failed to load: SyntaxError: expected ':'",
        "pinned to generation 2: reloads do not change it",
        "no longer pinned: the next reload applies",
    ]
    view = engine.state.sessions[session]
    assert [each.text for each in view.turns[-1].entries[before:]] == notes  # type: ignore[union-attr]
    exported = json.loads(as_json(view))["turns"][-1]["entries"][before:]
    assert [(each["type"], each["text"]) for each in exported] == [("note", text) for text in notes]
    assert all(text in as_markdown(view) for text in notes)


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_hostile_text_is_exported(text: str, tmp_path: Path) -> None:
    engine = FakeEngine()
    hostile_talk(engine, text[:2_000])
    session = engine.state.sessions[f"{TALKING}/1"]
    json.loads(as_json(session))
    assert all(not line.startswith("[/x]") for line in as_markdown(session).split("\n"))


# -- where there is no conversation ------------------------------------------------------------------------


def reason(engine: FakeEngine, key: str | None = "p1") -> str:
    return why_none(entries(engine.state)[key] if key else None, engine.state)


def test_why_there_is_no_conversation() -> None:
    engine = FakeEngine()
    histories.busy(engine)
    assert reason(engine, None).startswith("Select a call")
    assert reason(engine, "p4").startswith("ValueError: no. The test job failed")
    assert reason(engine) == (
        "The entry function has not started an AgentSession. Talk to the agent here once it has."
    )
    assert reason(engine, "p4").endswith("Select its row to see why. d starts another test job.")
    assert reason(engine, "p3").endswith("has no conversation. d starts another test job.")
    with_media = FakeEngine()
    histories.busy(with_media, histories.LOCAL)
    assert "c copies a link" in reason(with_media)


@pytest.mark.parametrize(
    ("state", "why"),
    [
        ("starting", "No calls until agent.py loads."),
        ("broken", "No calls until agent.py loads."),
        ("refused", "No calls until the worker is registered."),
    ],
)
def test_no_test_job_is_suggested_while_none_can_run(state: str, why: str) -> None:
    engine = FakeEngine()
    histories.ALL[state](engine)
    assert reason(engine, None) == why
    assert reason(engine, "c1") == f"This process has no call. {why}"


def test_a_lost_dispatch_is_no_process() -> None:
    engine = FakeEngine()
    histories.lost(engine)
    assert reason(engine, "dispatch 1").startswith("This dispatch has no call.")


def test_a_test_job_that_failed_is_the_reason() -> None:
    engine = FakeEngine()
    histories.busy(engine)
    last = list(engine.state.jobs.values())[-1]
    failed = replace(last, test_dispatch=1, status=ev.JobStatus.FAILED, reason="KeyError: KEY")
    state = replace(engine.state, jobs={**engine.state.jobs, last.id: failed})
    text = why_none(entries(engine.state)["p4"], state)
    succeeded = replace(engine.state, jobs={last.id: replace(failed, status=ev.JobStatus.SUCCESS)})
    assert why_none(entries(engine.state)["p4"], succeeded).startswith("This process has no call.")
    assert text.startswith("KeyError: KEY. The test job failed")
    assert text.startswith(why_none_of_job(last.id, state))
    advised = replace(state, jobs={last.id: replace(failed, todo="set KEY in .env, then save")})
    assert "KEY. Set KEY in .env, then save. The test job failed" in why_none_of_job(last.id, advised)


@pytest.mark.parametrize(
    ("runtime", "version", "start"),
    [
        ("native", None, "Native agents have no AgentSession"),
        ("livekit-agents", "1.5.16", "Talking needs livekit-agents 1.5.17 or newer"),
        ("agents-js", "1.4.9", "Talking needs @livekit/agents 1.5 or newer"),
        ("livekit-agents", "1.5.17", "The entry function"),
        ("livekit-agents", "1.10.0rc1", "The entry function"),
        ("agents-js", "1.5.0", "The entry function"),
        ("livekit-agents", "unknown", "The entry function"),
    ],
)
def test_an_sdk_without_sessions_is_named(runtime: str, version: str | None, start: str) -> None:
    engine = FakeEngine()
    histories.busy(engine)
    ready = ev.GenerationReady(2, None, "start", runtime, version, ev.StartMethod.FORK)
    engine.publish(ready)
    assert reason(engine).startswith(start)


def test_a_run_without_sessions_says_which_flag() -> None:
    engine = FakeEngine()
    engine.publish(ev.Starting("0.1", "agent.py", "", sessions=False))
    assert "--sessions" in reason(engine, None)


def test_a_session_without_turns_says_what_it_waits_for() -> None:
    engine = FakeEngine()
    histories.busy(engine, histories.LOCAL)
    engine.publish(se.SessionStarted(*KEY, "desk", False, 1))
    from agent_tui.tui.widgets.talk_notes import first_hint

    session = engine.state.sessions[f"{TALKING}/1"]
    assert first_hint(session, engine.state).startswith("The agent waits for a participant: c copies a link")


@pytest.mark.parametrize("width", [10, 40, 100])
def test_the_head_fits(width: int) -> None:
    engine = FakeEngine()
    hostile_talk(engine, TEXTS["wide"])
    session = engine.state.sessions[f"{TALKING}/1"]
    line = head_line(session, 12, width)
    assert "session 1/12" in plain(line)


# -- as a whole --------------------------------------------------------------------------------------------


def hostile_talk(engine: FakeEngine, text: str) -> None:
    """A conversation whose every text is hostile."""
    histories.busy(engine)
    engine.publish(
        se.SessionStarted(*KEY, text, True, 1),
        se.AgentStateChanged(*KEY, text),
        said(0, se.Role.ASSISTANT, text),
        se.TurnStarted(*KEY, 1, True, 1, text),
        said(1, se.Role.USER, text),
        se.ToolStarted(*KEY, 1, text, text, "c1"),
        se.ToolCalled(*KEY, 1, text, text, text, True, 12.0, "c1"),
        se.HandedOff(*KEY, 1, text, text),
        se.SessionFailed(*KEY, text, text),
        se.UsageChanged(*KEY, text, text, {text: 1.0, "input_tokens": 4.0}),
        se.MessageDelta(*KEY, 1, text),
        se.TurnEnded(*KEY, 1, True, 10.0, 5.0, {text: 1.0}, text),
        se.TurnQueued(*KEY, text),
    )


@pytest.mark.parametrize("name", TEXTS)
async def test_hostile_conversations_are_painted(name: str) -> None:
    engine = FakeEngine()
    hostile_talk(engine, TEXTS[name])
    async with page_host(engine, kind=AgentTuiApp) as (app, pilot):
        await pilot.press("2", "Z", "home", "down", "down", "space", "slash", "x", "enter", "m")
        await pilot.pause()
        assert not set("\x1b\x07\u202e") & set(app.export_screenshot())
        engine.publish(se.SessionEnded(*KEY, TEXTS[name], TEXTS[name]))
        await painted(app, engine, pilot)
        assert app._exception is None


async def test_limits_come_from_the_preferences() -> None:
    limits = Limits(turn_ms=0.0, part_ms=10_000.0)
    async with talking(preferences=Preferences(limits=limits)) as (_, _app, _pilot, pane):
        assert not any("▲" in row for row in rows(pane))
    async with talking() as (_, _app, _pilot, pane):
        assert any("▲" in row for row in rows(pane))


@pytest.mark.parametrize("size", [(120, 40), (80, 24)])
async def test_a_run_with_talk_starts_typing_in_the_first_session(size: tuple[int, int]) -> None:
    engine = FakeEngine()
    histories.busy(engine)
    async with page_host(engine, kind=AgentTuiApp, size=size, talk=True) as (app, pilot):
        assert app.focused is app.query_one(FirstTurns).field
        engine.publish(se.SessionStarted("AJ_Zz81kPpQ0sVb", 1, "desk", True, 1))
        await painted(app, engine, pilot)
        pane = app.query_one(TalkPane)
        await until(lambda: app.focused is pane.input)
        await typed(pilot, "hi")
        await pilot.press("enter")
        await until(lambda: engine.commands == [cmd.Say("AJ_Zz81kPpQ0sVb", "hi", 1)])


async def test_what_is_typed_before_the_first_session_is_sent_once_it_has_started() -> None:
    """Each of its letters is a key of the process table."""
    engine = FakeEngine()
    histories.busy(engine)
    async with page_host(engine, kind=AgentTuiApp, size=(80, 24), talk=True) as (app, pilot):
        await typed(pilot, "reload")
        await pilot.press("enter")
        await typed(pilot, "dxq")
        await pilot.press("enter")
        await typed(pilot, "and")
        assert engine.commands == []
        assert len(app.screen_stack) == 1
        engine.publish(se.SessionStarted("AJ_Zz81kPpQ0sVb", 1, "desk", True, 1))
        await painted(app, engine, pilot)
        says = [cmd.Say("AJ_Zz81kPpQ0sVb", text, 1) for text in ("reload", "dxq")]
        await until(lambda: engine.commands == says)
        pane = app.query_one(TalkPane)
        await until(lambda: app.focused is pane.input)
        assert pane.input.value == "and"
        assert not app.query_one(FirstTurns).display
        await pilot.press("escape")
        await until(lambda: app.focused is pane.view)


async def test_esc_leaves_the_line_for_first_turns_and_keeps_its_turns() -> None:
    engine = FakeEngine()
    histories.busy(engine)
    async with page_host(engine, kind=AgentTuiApp, talk=True) as (app, pilot):
        await typed(pilot, "hi")
        await pilot.press("enter", "escape")
        assert isinstance(app.focused, Processes)
        assert not app.query_one(FirstTurns).display
        await pilot.press("3")
        engine.publish(se.SessionStarted("AJ_Zz81kPpQ0sVb", 1, "desk", True, 1))
        await painted(app, engine, pilot)
        await until(lambda: engine.commands == [cmd.Say("AJ_Zz81kPpQ0sVb", "hi", 1)])
        assert isinstance(app.focused, LogView)


async def test_an_agent_without_sessions_has_no_line_for_first_turns() -> None:
    engine = FakeEngine()
    histories.busy(engine)
    async with page_host(engine, kind=AgentTuiApp, talk=True) as (app, pilot):
        engine.publish(replace(histories.READY, generation=2, runtime="native"))
        await painted(app, engine, pilot)
        await until(lambda: isinstance(app.focused, Processes))
        assert not app.query_one(FirstTurns).display


async def test_a_run_with_talk_leaves_a_focus_that_was_moved() -> None:
    engine = FakeEngine()
    histories.busy(engine)
    async with page_host(engine, kind=AgentTuiApp, talk=True) as (app, pilot):
        await pilot.press("escape", "3")
        engine.publish(se.SessionStarted(*KEY, "desk", True, 1))
        await painted(app, engine, pilot)
        assert isinstance(app.focused, LogView)


async def test_the_border_of_the_page_names_the_keys_of_the_focused_part() -> None:
    async with talking((120, 40), "C") as (_, app, _pilot, _pane):
        box = app.screen.query_one(".page-box")
        await until(lambda: "Enter send" in str(box.border_subtitle))
        app.screen.query_one(TalkPane).view.focus()
        await until(lambda: "Enter type" in str(box.border_subtitle))
