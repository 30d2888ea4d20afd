"""What all parts of one run share."""

from collections.abc import Callable
from dataclasses import dataclass

from agent_tui.engine.config import RunConfig
from agent_tui.engine.servers import Server
from agent_tui.engine.settings import Settings
from agent_tui.logs.intake import LogIntake
from agent_tui.logs.store import LogStore
from agent_tui.model.clock import Clock
from agent_tui.model.events import Event
from agent_tui.processes.timings import ProcessTimings


@dataclass(slots=True)
class Context:
    """One run: what it was asked to be, what it uses, and where its events go."""

    config: RunConfig
    clock: Clock
    emit: Callable[[Event], None]
    settings: Settings
    """Those in force; replaced as a whole."""
    store: LogStore
    intake: LogIntake
    server: Server
    """The server in use; another one when the agent's own code names it."""

    def process_timings(self) -> ProcessTimings:
        """Time-outs under the options in force."""
        options = self.settings.options
        timings = ProcessTimings(
            initialize_s=options.initialize_process_timeout / 1000,
            shutdown_s=options.shutdown_process_timeout / 1000,
            session_end_s=options.session_end_timeout / 1000,
        )
        return timings if self.config.watchdogs else timings.without_watchdogs()
