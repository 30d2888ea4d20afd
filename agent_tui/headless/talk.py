"""A conversation with a test job, typed on the command line or on standard input."""

import asyncio
import sys
from collections.abc import AsyncIterator, Iterable

from agent_tui.engine.engine_api import EngineAPI
from agent_tui.model import commands as cmd
from agent_tui.model import events as ev
from agent_tui.model import session_events as se
from agent_tui.model.wording import duration_text
from agent_tui.runtimes.threads import off_loop

STDIN = "-"
"""Stands for all lines of standard input. Each line is a turn."""

DONE = "all turns said"
"""The reason that the end of the job has."""

_Heard = ev.JobStarted | ev.JobEnded | ev.JobLost | se.SessionStarted | se.SessionEnded | se.TurnEnded


class Talk:
    """Says turns, one after the other, to the first session of the first test job, and then ends that job."""

    def __init__(self, engine: EngineAPI, turns: Iterable[str], session_within_s: float) -> None:
        """`session_within_s` is how long the job's entry function may take to start a session."""
        self._engine = engine
        self._turns = tuple(turns)
        self._within_s = session_within_s
        self._heard: asyncio.Queue[_Heard] = asyncio.Queue()

    def observe(self, event: ev.Event) -> None:
        """Process an engine event. Call this for each event."""
        if isinstance(event, _Heard):
            self._heard.put_nowait(event)

    async def run(self) -> str:
        """Say all turns. Return why not all could be said; empty if all were."""
        job_id = await self._job()
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

    async def _job(self) -> str | None:
        """Wait until the entry function of a test job runs, and return the job's id; None if it is lost."""
        while True:
            match await self._heard.get():
                case ev.JobStarted(job_id=job_id, test_dispatch=number) if number:
                    return job_id
                case ev.JobLost() | ev.JobEnded():
                    return None
                case _:
                    pass

    async def _session(self, job_id: str) -> str:
        """Wait until the job starts a session. Return why it does not; empty if it does."""
        while True:
            match await self._heard.get():
                case se.SessionStarted(job_id=its) if its == job_id:
                    return ""
                case ev.JobEnded(job_id=its) if its == job_id:
                    return "the job ended before it started an AgentSession"
                case _:
                    pass

    async def _say_all(self, job_id: str) -> str:
        async for text in self._texts():
            result = await self._engine.send(cmd.Say(job_id, text))
            if not result.ok:
                return f"{text!r} was not said: {result.text}"
            if not await self._answered(job_id):
                return ""  # `TurnEnded` has reported why
        return ""

    async def _answered(self, job_id: str) -> bool:
        """Wait until a typed turn ends. Return False if the session or the job ends before that."""
        while True:
            match await self._heard.get():
                case se.TurnEnded(job_id=its, typed=True) if its == job_id:
                    return True
                case se.SessionEnded(job_id=its) | ev.JobEnded(job_id=its) if its == job_id:
                    return False
                case _:
                    pass

    async def _texts(self) -> AsyncIterator[str]:
        for text in self._turns:
            if text != STDIN:
                yield text
                continue
            while line := await off_loop(sys.stdin.readline):
                if line.strip():
                    yield line.strip()
