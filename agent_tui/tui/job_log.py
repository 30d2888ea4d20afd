"""The newest log lines of one job or process, read from the store as they arrive."""

from collections import deque
from typing import TYPE_CHECKING

from agent_tui.engine.engine_api import EngineAPI
from agent_tui.model.requests import ReadLogs

if TYPE_CHECKING:
    from agent_tui.model.logs import LogLine

KEPT = 1_000


class JobLog:
    """Keeps the newest `KEPT` lines of one job or process, whose id is `owner`.

    Lines before index `start` are not read.
    """

    def __init__(self, engine: EngineAPI, owner: str, start: int = 0) -> None:
        self._engine = engine
        self.owner = owner
        self.lines: deque[LogLine] = deque(maxlen=KEPT)
        self.end = max(start, 0)
        """The index of the next line to read."""

    async def read(self, end: int) -> bool:
        """Read the new lines before index `end`. Return whether any of them belongs to the owner."""
        if end <= self.end:
            return False
        first, self.end = self.end, end  # before the request, so that the next call does not read them too
        answer = await self._engine.request(ReadLogs(first, end))
        new = [line for line in answer.lines if self.owner in (line.job_id, line.source.process_id)]
        self.lines.extend(new)
        return bool(new)
