"""The modal pages: their results by keys and mouse, and hostile text."""

import pytest
from textual import events
from textual.app import App
from textual.screen import ModalScreen
from textual.widgets import Button, Input, Static

from agent_tui.model.commands import Dispatch, DispatchBy
from agent_tui.tui.actions import ACTIONS
from agent_tui.tui.screens.confirm import Confirm
from agent_tui.tui.screens.dispatch_form import (
    DispatchForm,
    attributes_text,
    count_error,
    metadata_note,
    notes,
    parse_attributes,
    read,
    room_note,
)
from agent_tui.tui.screens.help import Help
from agent_tui.tui.screens.remote_guard import Answer, RemoteGuard
from tests.tui.hostile import HOSTILE

UNANSWERED = "unanswered"
SIZES = [(80, 24), (120, 40), (200, 60)]


class Host(App[None]):
    """Pushes one modal and keeps its answer."""

    def __init__(self, modal: ModalScreen[object]) -> None:
        super().__init__()
        self.modal = modal
        self.answer: object = UNANSWERED

    def on_mount(self) -> None:
        self.push_screen(self.modal, self._answered)

    def _answered(self, answer: object) -> None:
        self.answer = answer


async def answer(modal: object, *keys: str, click: str = "", size: tuple[int, int] = (80, 24)) -> object:
    app = Host(modal)  # type: ignore[arg-type]
    async with app.run_test(size=size) as pilot:
        await pilot.press(*keys)
        if click:
            await pilot.click(click)
        await pilot.pause()
    return app.answer


# -- confirm -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        (["enter"], False),
        (["escape"], False),
        (["n"], False),
        (["y"], True),
        (["tab", "enter"], True),
        (["right", "enter"], True),
        (["x", "q", "enter"], False),
    ],
)
async def test_only_a_yes_is_a_yes(keys: list[str], expected: bool) -> None:
    assert await answer(Confirm(f"End {HOSTILE}?", "They lose the agent."), *keys) is expected


async def test_both_answers_can_be_clicked() -> None:
    assert await answer(Confirm("End it?"), click="#confirm-yes") is True
    assert await answer(Confirm("End it?"), click="#confirm-no") is False


# -- remote guard --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        (("y",), Answer.YES),
        (("a",), Answer.ALWAYS),
        (("n",), Answer.NO),
        (("escape",), Answer.NO),
        (("enter",), Answer.NO),  # the safe button has the focus
        (("right", "enter"), Answer.YES),
        (("x",), UNANSWERED),
    ],
)
async def test_a_remote_server_is_asked_about(keys: tuple[str, ...], expected: object) -> None:
    assert await answer(RemoteGuard("lk.io", "a test dispatch"), *keys) == expected


async def test_the_remote_question_takes_no_yes_in_its_first_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(RemoteGuard, "GRACE_S", 60)
    for key in ("y", "a"):
        assert await answer(RemoteGuard("lk.io", "a test dispatch"), key) == UNANSWERED
    assert await answer(RemoteGuard("lk.io", "a test dispatch"), "right", "enter") == UNANSWERED
    assert await answer(RemoteGuard("lk.io", "a test dispatch"), "n") is Answer.NO


async def test_the_buttons_of_the_remote_question_answer_it() -> None:
    for each in Answer:
        assert await answer(RemoteGuard("lk.io", "a test dispatch"), click=f"#{each.value}") is each


# -- dispatch form ---------------------------------------------------------------------------------------


def filled(**values: str) -> dict[str, str]:
    """Return the values of the dispatch form's fields; unnamed ones have their defaults."""
    empty = dict.fromkeys(("room", "metadata", "attributes", "identity", "length"), "")
    return {"count": "1", "by": "server", **empty, **values}


def wrong(values: dict[str, str]) -> list[str]:
    """Return the names of the invalid fields."""
    return [name for name, note in notes(values).items() if note.wrong]


@pytest.mark.parametrize("text", ["", "0", "101", "-1", "1.5", "x", "²", "9" * 5000])
def test_a_bad_count_is_reported(text: str) -> None:
    assert count_error(text)
    assert wrong(filled(count=text)) == ["count"]


def test_a_form_becomes_a_command() -> None:
    read_ = read(filled(count=" 100 ", room=" demo ", metadata=' {"a": 1}', length="500ms", attributes="a=b"))
    assert read_ == Dispatch(100, "demo", ' {"a": 1}', attributes={"a": "b"}, length_s=0.5)
    assert wrong(filled(room="a\x1bb")) == ["room"]
    assert "one room per job; their names start with demo" in room_note("demo", "2")
    assert "created if" in room_note("demo", "1")


@pytest.mark.parametrize("text", ["a", "=b", "a=b, c", "{", "[1]", '{"a": 1}', "{" * 100_000])
def test_bad_attributes_are_reported(text: str) -> None:
    assert wrong(filled(attributes=text)) == ["attributes"]


@pytest.mark.parametrize("attributes", [{}, {"a": "1", "b": ""}, {"a": "1, b=2"}, {"a=": "x"}, {"漢": '"'}])
def test_attributes_survive_a_round_trip(attributes: dict[str, str]) -> None:
    assert parse_attributes(attributes_text(attributes)) == attributes


@pytest.mark.parametrize("text", ["x", "-1s", "0", "1 day"])
def test_a_bad_length_is_reported(text: str) -> None:
    assert wrong(filled(length=text)) == ["length"]


def test_a_simulated_job_needs_a_participant_for_metadata() -> None:
    assert wrong(filled(by="simulate")) == []
    assert wrong(filled(by="simulate", metadata="hello")) == ["identity"]
    assert wrong(filled(by="simulate", attributes="a=b")) == ["identity"]
    given = filled(by="simulate", metadata="hello", identity="ann")
    assert wrong(given) == []
    assert read(given) == Dispatch(metadata="hello", by=DispatchBy.SIMULATE, identity="ann")
    assert read({**given, "by": "server"}).identity == ""


@pytest.mark.parametrize(
    ("text", "note"),
    [
        ("", "none"),
        ("hello", "as text"),
        ('{"a": 1}', "valid JSON"),
        ("{a", "but is invalid"),
        ("[" * 100_000, "invalid"),
    ],
)
def test_metadata_that_looks_like_json_is_checked(text: str, note: str) -> None:
    assert note in metadata_note(text)


async def test_the_form_opens_with_the_last_values_without_the_confirmation() -> None:
    last = Dispatch(3, "demo", "[/x]", confirmed_host="my.livekit.cloud")
    assert await answer(DispatchForm(last), "enter") == Dispatch(3, "demo", "[/x]")
    assert await answer(DispatchForm(), "enter") == Dispatch()


async def test_the_form_is_filled_by_keys() -> None:
    keys = [*"quick", "tab", "2", "0", "tab", *"{}", "enter"]
    assert await answer(DispatchForm(), *keys) == Dispatch(20, "quick", "{}")
    assert await answer(DispatchForm(), *"demo", click="#form-go") == Dispatch(1, "demo")
    to_the_way = ["tab"] * 4
    simulated = Dispatch(by=DispatchBy.SIMULATE, length_s=2.0)
    assert await answer(DispatchForm(), *to_the_way, "right", "tab", "tab", *"2s", "enter") == simulated
    assert await answer(DispatchForm(simulated), *to_the_way, "enter") == simulated
    assert await answer(DispatchForm(simulated), *to_the_way, "left", "space", "enter") == simulated


async def test_an_invalid_form_is_not_submitted() -> None:
    assert await answer(DispatchForm(), "tab", "0", "enter") == UNANSWERED
    assert await answer(DispatchForm(), "tab", "0", click="#form-go") == UNANSWERED
    assert await answer(DispatchForm(), "5", "escape") is None
    assert await answer(DispatchForm(), click="#form-cancel") is None


# -- all -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "theme"), zip(SIZES, ["textual-dark", "textual-light", "ansi-dark"], strict=True)
)
async def test_each_fits_and_shows_hostile_text_as_text(size: tuple[int, int], theme: str) -> None:
    modals: list[object] = [
        Confirm(HOSTILE, HOSTILE),
        RemoteGuard(HOSTILE, HOSTILE),
        DispatchForm(Dispatch(1, HOSTILE, HOSTILE)),
        Help(ACTIONS),
    ]
    for modal in modals:
        app = Host(modal)  # type: ignore[arg-type]
        async with app.run_test(size=size) as pilot:
            app.theme = theme
            await pilot.pause()
            for widget in app.screen.query(f"{Button.__name__}, {Static.__name__}"):
                assert widget.region.right <= size[0]
            for button in app.screen.query(Button):
                assert button.region.bottom <= size[1]
            assert "\x1b" not in app.export_screenshot()


async def test_pasted_text_is_sanitized_or_refused() -> None:
    app = Host(DispatchForm(Dispatch(1, "", "a\x1b[31mb\nc")))  # type: ignore[arg-type]
    async with app.run_test() as pilot:
        metadata = app.screen.query_one("#form-metadata", Input)
        assert metadata.value == "ab c"
        metadata.focus()
        await pilot.pause()
        metadata.post_message(events.Paste("\x1b]0;title\x07"))
        await pilot.pause()
        assert metadata.value == "ab c"
        metadata.post_message(events.Paste('{"room": "漢字"}'))
        await pilot.pause()
        assert metadata.value == '{"room": "漢字"}'
