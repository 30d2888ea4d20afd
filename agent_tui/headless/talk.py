"""Conversations with test jobs, typed on the command line or on standard input."""

import asyncio
import re
import sys
from collections.abc import AsyncIterator, Iterable

from agent_tui.engine.engine_api import EngineAPI
from agent_tui.model import commands as cmd
from agent_tui.model import events as ev
from agent_tui.model import session_events as se
from agent_tui.model.wording import duration_text
from agent_tui.runtimes.threads import off_loop

STDIN = "-"
"""Stands for the lines of standard input, each of which is a turn."""

DONE = "all turns sent"
"""The job's reason for ending."""

_TO_ONE = re.compile(r"@(\d{1,9})\s+(.*)", re.DOTALL)
"""A turn for one of several test jobs: `@2 any room on Friday?`."""

_Heard = ev.JobStarted | ev.JobEnded | ev.JobLost | se.SessionStarted | se.SessionEnded | se.TurnEnded


class Talk:
    """Sends turns to the first session of each test job, one after the other, then ends these jobs.

    The jobs do not wait for each other. A turn `@2 …` is for the second test job only, if there are several.
    """

    def __init__(
        self, engine: EngineAPI, turns: Iterable[str], session_within_s: float, jobs: int = 1
    ) -> None:
        """`session_within_s` is the time limit, in s, for a job's entry function to start a session."""
        self._turns = tuple(turns)
        self._jobs = [_Job(engine, number, session_within_s) for number in range(1, jobs + 1)]

    def observe(self, event: ev.Event) -> None:
        """Process an engine event. Call this for each event."""
        if isinstance(event, _Heard):
            for job in self._jobs:
                job.heard.put_nowait(event)

    async def run(self) -> str:
        """Send all turns. Return why a job did not get all of them; empty if all did."""
        reading = asyncio.create_task(self._read(), name="say")
        try:
            problems = await asyncio.gather(*(job.run() for job in self._jobs))
        finally:
            reading.cancel()
        several = len(self._jobs) > 1
        texts = [f"test job {n}: {why}" if several else why for n, why in enumerate(problems, 1) if why]
        return texts[0] if texts else ""

    async def _read(self) -> None:
        """Give each turn to the jobs that it is for. At the end, each job gets None."""
        try:
            async for text in self._texts():
                number, text = self._addressed(text)
                for job in self._jobs:
                    if number in (0, job.number):
                        job.turns.put_nowait(text)
        finally:
            for job in self._jobs:
                job.turns.put_nowait(None)

    def _addressed(self, text: str) -> tuple[int, str]:
        """Return the number of the job that a turn is for, 0 for all jobs, and the text."""
        if len(self._jobs) > 1 and (found := _TO_ONE.fullmatch(text)):
            number = int(found[1])
            if 1 <= number <= len(self._jobs):
                return number, found[2]
        return 0, text

    async def _texts(self) -> AsyncIterator[str]:
        for text in self._turns:
            if text != STDIN:
                yield text
                continue
            while line := await off_loop(sys.stdin.readline):
                if line.strip():
                    yield line.strip()


class _Job:
    """One test job, and the turns that it gets."""

    def __init__(self, engine: EngineAPI, number: int, session_within_s: float) -> None:
        self.number = number
        self.turns: asyncio.Queue[str | None] = asyncio.Queue()
        """The turns to say; None for the end."""
        self.heard: asyncio.Queue[_Heard] = asyncio.Queue()
        self._engine = engine
        self._within_s = session_within_s

    async def run(self) -> str:
        """Send all turns, and end the job. Return why not all could be sent; empty if all were."""
        job_id = await self._started()
        if job_id is None:
            return "no job to talk to"
        try:
            async with asyncio.timeout(self._within_s):
                problem = await self._session(job_id)
        except TimeoutError:
            problem = f"the job started no AgentSession within {duration_text(self._within_s)}"
        if not problem:
            problem = await self._say_all(job_id)
        await self._engine.send(cmd.EndJob(job_id, DONE))
        return problem

    async def _started(self) -> str | None:
        """Wait until the job's entry function runs, and return the job's id; None if the job is lost."""
        while True:
            match await self.heard.get():
                case ev.JobStarted(job_id=job_id, test_dispatch=number) if number == self.number:
                    return job_id
                case ev.JobLost(test_dispatch=number) | ev.JobEnded(test_dispatch=number):
                    if number == self.number:
                        return None
                case _:
                    pass

    async def _session(self, job_id: str) -> str:
        """Wait until the job starts a session. Return why it does not; empty if it does."""
        while True:
            match await self.heard.get():
                case se.SessionStarted(job_id=its) if its == job_id:
                    return ""
                case ev.JobEnded(job_id=its) if its == job_id:
                    return "the job ended before it started an AgentSession"
                case _:
                    pass

    async def _say_all(self, job_id: str) -> str:
        while (text := await self.turns.get()) is not None:
            result = await self._engine.send(cmd.Say(job_id, text))
            if not result.ok:
                return f"{text!r} was not sent: {result.text}"
            if not await self._answered(job_id):
                return ""  # `TurnEnded` has reported why
        return ""

    async def _answered(self, job_id: str) -> bool:
        """Wait until a typed turn ends. Return False if the session or the job ends before that."""
        while True:
            match await self.heard.get():
                case se.TurnEnded(job_id=its, typed=True) if its == job_id:
                    return True
                case se.SessionEnded(job_id=its) | ev.JobEnded(job_id=its) if its == job_id:
                    return False
                case _:
                    pass
