"""Pages that are painted with the dashboard, each time that the state has changed."""

from agent_tui.model.state import AppState


class Follower:
    """A page that takes the state as the panels do."""

    def follow(self, state: AppState, now: float) -> None:
        """Takes the state; `now` is in Unix seconds."""
