"""How long each step of a load takes."""

from typing import Literal

from agent_tui.model.clock import Clock
from agent_tui.model.events import LoadSteps

Step = Literal["seen", "read", "control", "load", "warm", "quiet", "switch"]


class StepTimes:
    """Takes the steps of one load as they end, each from the end of the one before."""

    def __init__(self, clock: Clock, since: float | None = None) -> None:
        """`since` is monotonic: the save, if one caused it."""
        self._clock = clock
        self._last = clock.monotonic() if since is None else since
        self._took: dict[str, float] = {}

    def end(self, step: Step, at: float | None = None) -> None:
        """A step is over, now or at that monotonic time."""
        at = max(self._clock.monotonic() if at is None else at, self._last)
        self._took[step] = (at - self._last) * 1000
        self._last = at

    @property
    def taken(self) -> LoadSteps:
        """Those that are over."""
        return LoadSteps(**self._took)
