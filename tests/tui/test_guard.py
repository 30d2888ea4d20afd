"""Control characters never reach the terminal, and a failing screen prints no secrets."""

import pytest
from rich.segment import Segment
from textual.app import ComposeResult
from textual.color import Color
from textual.content import Content
from textual.events import Mount
from textual.strip import Strip
from textual.widget import Widget
from textual.widgets import Input, Static

from agent_tui.tui.app import AgentTuiApp
from agent_tui.tui.terminal import ControlCharacters
from tests.fakes.engine import FakeEngine
from tests.fakes.hostile_values import HOSTILE, SECRET, raw_in


class Raw(Widget):
    """Paints unsanitized text."""

    DEFAULT_CSS = "Raw { height: 1; }"

    def render_line(self, y: int) -> Strip:
        return Strip([Segment(HOSTILE)])


class Bare(AgentTuiApp):
    """The app with widgets that do not sanitize text."""

    CSS_PATH = None  # type: ignore[assignment]

    def compose(self) -> ComposeResult:
        yield Raw(id="raw")
        static = Static(Content(HOSTILE), id="static")
        static.border_title = Content(HOSTILE)
        static.styles.border = ("round", "red")
        yield static
        yield Input(HOSTILE)

    def on_mount(self, event: Mount) -> None:  # type: ignore[override]
        event.prevent_default()
        self.notify(HOSTILE, title=HOSTILE, markup=False)


async def make() -> FakeEngine:
    return FakeEngine()


async def test_no_widget_paints_a_control_character() -> None:
    app = Bare(make)
    async with app.run_test(size=(200, 40)) as pilot:
        await pilot.pause(0.1)
        strips = app.screen._compositor.render_strips()
        texts = [segment.text for strip in strips for segment in strip]
        assert sum("title" in text for text in texts) >= 4
        assert [raw_in(text) for text in texts if raw_in(text)] == []
        assert not any("\n" in text or "\t" in text for text in texts)


def test_segments_without_control_characters_are_not_copied() -> None:
    segments = [Segment("plain"), Segment(" 漢字 ")]
    assert ControlCharacters().apply(segments, Color(0, 0, 0)) is segments


class Failing(AgentTuiApp):
    """A screen that fails while a secret is in a local variable."""

    CSS_PATH = None  # type: ignore[assignment]

    def on_mount(self, event: Mount) -> None:  # type: ignore[override]
        event.prevent_default()
        local = SECRET
        raise RuntimeError(f"failed with {len(local)} characters")


async def test_a_screen_that_fails_leaves_with_a_traceback_without_local_variables(
    capsys: pytest.CaptureFixture[str],
) -> None:
    app = Failing(make)
    with pytest.raises(RuntimeError):
        async with app.run_test():
            pass
    said = capsys.readouterr().err
    assert "RuntimeError: failed with 24 characters" in said
    assert "Traceback" in said
    assert SECRET not in said
    assert "\x1b" not in said
