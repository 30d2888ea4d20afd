"""The sessions of one job, by number: passes messages of the child, and commands, to each."""

from collections.abc import Callable, Mapping

from agent_tui.jobs.session import Session
from agent_tui.jobs.session_protocol import Data
from agent_tui.model import child as ch
from agent_tui.model import session_events as se
from agent_tui.model.clock import Clock
from agent_tui.model.errors import UserError
from agent_tui.options.prices import Prices, cost_of

TURN_TIMEOUT_S = 60.0
"""Default time limit of a typed turn, in s."""

SETTLE_S = 0.15
"""Minimum seconds from the start of a session to its first typed turn: the agent may be about to greet."""

Send = Callable[[ch.ToChild], None]
Emit = Callable[[se.SessionEvent], None]


class JobSessions:
    """Owns all sessions of a job. Session numbers continue across restarts of the job's process."""

    def __init__(
        self,
        job_id: str,
        emit: Emit,
        clock: Clock,
        turn_timeout_s: float = TURN_TIMEOUT_S,
        *,
        settle_s: float = SETTLE_S,
        prices: Prices | None = None,
    ) -> None:
        self._job_id = job_id
        self._prices = prices or {}
        self._emit, self._clock = emit, clock
        self._turn_timeout_s, self._settle_s = turn_timeout_s, settle_s
        self._sessions: dict[int, Session] = {}
        self._before = 0
        """Number of sessions that the job's earlier processes started."""
        self._send: Send = lambda message: None
        self.generation = 0
        """The generation whose classes the job's new sessions use."""

    def attach(self, send: Send, generation: int) -> None:
        """Switch to the job's next process. Its first session gets the next free number."""
        self._send, self.generation = send, generation
        self._before = len(self._sessions)

    @property
    def are_open(self) -> bool:
        """Whether a session is open."""
        return any(each.is_open for each in self._sessions.values())

    def are_all_on(self, generation: int) -> bool:
        """Whether each open session runs the code of this generation."""
        return all(each.generation == generation for each in self._sessions.values() if each.is_open)

    def swap(
        self,
        generation: int,
        sources: Mapping[str, bytes],
        changed: tuple[str, ...] = (),
        kept: tuple[str, ...] = (),
    ) -> None:
        """Give all open sessions the code of this generation.

        `sources` are the files that differ from those of the process's own generation. `changed` names what
        differs from the code that the sessions are on. `kept` are notes on what no swap changes.
        """
        self._send(ch.SwapCode(generation, sources))
        for session in self._sessions.values():
            session.hold_for_swap(changed, kept)

    def cancel_swap(self) -> None:
        """Cancel a swap that is waiting for a tool."""
        if any(each.waits_for_swap for each in self._sessions.values()):
            self._send(ch.SwapCode(0, {}))
            for session in self._sessions.values():
                session.forget_swap()

    def receive(self, message: ch.SessionMessage) -> None:
        """Handle a message about a session."""
        number = self._before + message.session
        if isinstance(message, ch.SessionStarted):
            self._start(number, message)
        elif session := self._sessions.get(number):
            session.receive(message)

    def say(self, text: str, number: int = 0) -> None:
        """Queue a typed turn for a session; 0 means the newest one. Raise UserError if it is not open."""
        self._find(number).say(text)

    def interrupt(self, number: int = 0) -> None:
        """Cut off the current reply of a session. Raise UserError if no such session is open."""
        self._find(number).interrupt()

    async def ask(self, request: str, number: int = 0) -> Data:
        """Return a session's answer to a request without arguments, such as get_agent_info.

        Raise UserError if no such session is open, or if it answers with an error or too late.
        """
        return await self._find(number).ask(request)

    def end(self, reason: str) -> None:
        """End all sessions, because their process has ended."""
        for session in self._sessions.values():
            session.end(reason)

    @property
    def has_work(self) -> bool:
        """Whether a typed turn is waiting to be sent or answered."""
        return any(each.has_work for each in self._sessions.values())

    def _start(self, number: int, message: ch.SessionStarted) -> None:
        session = Session(self, number, message.session)
        self._sessions[number] = session
        self.emit(
            se.SessionStarted(
                self._job_id,
                number,
                message.agent,
                message.text_only,
                self.generation,
                message.realtime,
            )
        )

    def _find(self, number: int) -> "Session":
        for session in reversed(self._sessions.values()):
            if session.is_open and number in (0, session.number):
                return session
        raise UserError(
            f"job {self._job_id} has no open session {number}"
            if number
            else f"job {self._job_id} has no open session"
        )

    # -- for its sessions ---------------------------------------------------------------------------------

    @property
    def job_id(self) -> str:
        return self._job_id

    @property
    def turn_timeout_s(self) -> float:
        return self._turn_timeout_s

    @property
    def settle_s(self) -> float:
        return self._settle_s

    def cost(self, model: str, units: Mapping[str, float]) -> float | None:
        """Return what a model's usage costs, in US dollars; None if its price is not known."""
        return cost_of(model, units, self._prices)

    def now(self) -> float:
        return self._clock.monotonic()

    def time(self) -> float:
        return self._clock.time()

    def emit(self, event: se.SessionEvent) -> None:
        self._emit(event)

    def send(self, message: ch.ToChild) -> None:
        self._send(message)
