"""Between the engine's stream and the widgets: the state so far, and what has to be painted of it."""

from collections.abc import Callable

from agent_tui.engine.bus import LaggedError, Subscription
from agent_tui.model.events import LogsAdded, Stamped
from agent_tui.model.reduce import reduce
from agent_tui.model.state import AppState


class Bridge:
    """Follows one subscription after another; `take()` gives what is new since the last paint."""

    def __init__(self, subscribe: Callable[[], Subscription]) -> None:
        self._subscribe = subscribe
        self._stream = subscribe()
        self.state: AppState = self._stream.snapshot
        self._dirty = True
        self._logs: LogsAdded | None = None
        self.resynced = 0
        """How often the display was too slow and began anew from a snapshot."""

    async def run(self) -> None:
        """Follows the stream to its end."""
        while True:
            try:
                async for batch in self._stream.batches():
                    for stamped in batch:
                        self._hear(stamped)
                return
            except LaggedError:
                self.resynced += 1
                self._stream = self._subscribe()
                self.state, self._dirty = self._stream.snapshot, True
                end = self.state.log_end
                self._logs = LogsAdded(self._logs.first if self._logs else 0, end, self.state.logs_dropped)

    def take(self) -> tuple[AppState, bool, LogsAdded | None]:
        """The state, whether it changed since the last call, and the log lines that came since."""
        dirty, logs = self._dirty, self._logs
        self._dirty, self._logs = False, None
        return self.state, dirty, logs

    def _hear(self, stamped: Stamped) -> None:
        self.state = reduce(self.state, stamped)
        self._dirty = True
        event = stamped.event
        if isinstance(event, LogsAdded):
            first = self._logs.first if self._logs else event.first
            self._logs = LogsAdded(first, event.end, event.dropped)
