"""What every page that lies over the dashboard looks like."""

from typing import TypeVar

from textual.screen import ModalScreen

from agent_tui.model.state import AppState

R = TypeVar("R")


class Page(ModalScreen[R]):
    """A page around one `.page-box`, of which each page says how large it is."""

    DEFAULT_CSS = """
    Page {
        align: center middle;

        .page-box {
            padding: 0 1;
            border: round $primary;
            border-title-color: $text;
            border-subtitle-color: $text-muted;
            background: $surface;
            scrollbar-size-vertical: 1;
        }
    }
    """


class Follower:
    """A page that takes the state as the panels do."""

    def follow(self, state: AppState, now: float) -> None:
        """Takes the state; `now` is in Unix seconds."""
