"""One session of a job: numbers its turns, sends typed turns one at a time, and emits events.

The child forwards messages of the SDK's session protocol without changing them (conversation.md §1).
"""

import asyncio
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING

from agent_tui.jobs.session_protocol import Data, failure_of, latencies, seconds, state_of, units_of
from agent_tui.model import child as ch
from agent_tui.model import session_events as se
from agent_tui.model.errors import UserError
from agent_tui.model.wording import duration_text

if TYPE_CHECKING:
    from agent_tui.jobs.sessions import JobSessions

ANSWER_S = 10.0
"""Time limit for a session's answer to a request, in s. Sessions never answer unknown requests."""

GREETING_S = 10.0
"""Maximum seconds that the first typed turn waits for the agent's greeting to end. Otherwise, the turn would
cut off the greeting.
"""

SWAP_S = 10.0
"""Maximum seconds that typed turns wait for a swap. A job that does not answer keeps its code."""

_SILENT = ("listening", "idle")


@dataclass(slots=True)
class _Turn:
    """The running turn. Its times are those of the monotonic clock, in seconds."""

    number: int
    typed: bool
    started: float
    request_id: str = ""
    """The id of the request that sent this turn, if it was typed."""
    first_delta: float | None = None
    metrics: dict[str, float] = field(default_factory=dict)
    has_user_message: bool = False
    has_reply: bool = False
    timer: asyncio.TimerHandle | None = None


class Session:
    """One session. Its turns run one after the other."""

    def __init__(self, job: "JobSessions", number: int, child_number: int) -> None:
        self.number = number
        self.is_open = True
        self.generation = job.generation
        """The generation whose code it runs."""
        self._job = job
        self._child_number = child_number
        self._loop = asyncio.get_running_loop()
        self._requests = count(1)
        self._answers: dict[str, asyncio.Future[Data]] = {}
        self._waiting: deque[str] = deque()
        self._last_turn = 0
        self._turn: _Turn | None = None
        self._agent_state = ""
        self._seen: dict[str, None] = {}
        """Ids of items that were already emitted: the response to a typed turn repeats them."""
        self._tools: dict[str, float] = {}
        """When each running tool started, by call id, in seconds of the monotonic clock."""
        self._returned: dict[str, float] = {}
        """When each tool whose call has not been reported yet ended, as `_tools`."""
        self._event_at = 0.0
        """When the job sent the current event, in seconds of the monotonic clock."""
        self._pause: asyncio.TimerHandle | None = None
        self._opened = job.now()
        self._swap: asyncio.TimerHandle | None = None
        """Runs while typed turns wait for a swap, so that a turn runs on the generation in its event."""
        self._changed: tuple[str, ...] = ()
        """What differs between the session's code and the code of the most recently requested swap."""
        self._kept: tuple[str, ...] = ()
        """Notes on what that swap does not change."""
        self.waits_for_swap = False
        """Whether a swap waits for a tool."""
        self._reply_generation: int | None = None
        """The generation that produces the current reply; None if there is no reply."""
        self._failures: Counter[tuple[str, str]] = Counter()
        """How often each component has failed in the same way since the last turn started."""
        self._last_failure = ""

    @property
    def has_work(self) -> bool:
        return bool(self._waiting) or (self._turn is not None and self._turn.typed)

    @property
    def _key(self) -> tuple[str, int]:
        return self._job.job_id, self.number

    # -- typed turns --------------------------------------------------------------------------------------

    def say(self, text: str) -> None:
        """Queue a typed turn: the SDK cuts off the current reply when it gets one (conversation.md §1)."""
        text = text.encode(errors="replace").decode()  # the protocol has no lone surrogates
        self._waiting.append(text)
        self._job.emit(se.TurnQueued(*self._key, text))
        self._next()

    def interrupt(self) -> None:
        self._job.send(ch.InterruptSession(self._child_number))

    def _next(self) -> None:
        """Send the next typed turn, unless one is running or the agent is greeting."""
        if not self.is_open or not self._waiting or (self._turn is not None and self._turn.typed):
            return
        if self._swap is not None:
            return
        if self._last_turn == 0 and self._pause is None and (left := self._greeting_s()) > 0:
            self._pause = self._loop.call_later(left, self._resume)
        if self._pause is not None:
            return
        self._finish_spoken()
        text = self._waiting.popleft()
        turn = self._begin(typed=True, text=text)
        turn.request_id = self._request("run_input", {"text": text})
        turn.timer = self._loop.call_later(self._job.turn_timeout_s, self._time_out, turn)

    def hold_for_swap(self, changed: tuple[str, ...], kept: tuple[str, ...] = ()) -> None:
        """Hold typed turns until the swap that was just requested has happened or is waiting for a tool."""
        if self.is_open:
            self._changed, self._kept = changed, kept
            self._stop_holding()
            self._swap = self._loop.call_later(SWAP_S, self._release)

    def forget_swap(self) -> None:
        """Report that a waiting swap was cancelled."""
        if self.is_open and self.waits_for_swap:
            self.waits_for_swap = False
            self._job.emit(se.SwapWaiting(*self._key, self._last_turn, 0, ""))

    def _release(self) -> None:
        self._stop_holding()
        self._next()

    def _stop_holding(self) -> None:
        if self._swap is not None:
            self._swap.cancel()
            self._swap = None

    def _resume(self) -> None:
        self._pause = None
        self._next()

    def _greeting_s(self) -> float:
        """Return the seconds until the next check for the end of the greeting; 0 if it has ended."""
        since = self._job.now() - self._opened
        if since >= GREETING_S:
            return 0.0
        if self._agent_state in _SILENT or not self._agent_state:
            return max(self._job.settle_s - since, 0.0)
        return self._job.settle_s

    def _time_out(self, turn: _Turn) -> None:
        if self._turn is turn:
            self._finish(f"no answer within {duration_text(self._job.turn_timeout_s)}")
            self._next()

    # -- turns --------------------------------------------------------------------------------------------

    def _begin(self, *, typed: bool, text: str = "") -> _Turn:
        self._last_turn += 1
        self._failures.clear()
        self._turn = _Turn(self._last_turn, typed, self._job.now())
        self._job.emit(se.TurnStarted(*self._key, self._last_turn, typed, self.generation, text))
        return self._turn

    def _finish(self, error: str = "") -> None:
        """End the running turn."""
        turn, self._turn = self._turn, None
        if turn is None:
            return
        if turn.timer is not None:
            turn.timer.cancel()
        now = self._job.now()
        first = None if turn.first_delta is None else (turn.first_delta - turn.started) * 1000
        self._job.emit(
            se.TurnEnded(
                *self._key,
                turn.number,
                turn.typed,
                (now - turn.started) * 1000,
                first,
                turn.metrics,
                error,
            )
        )

    def _finish_spoken(self) -> None:
        """End a spoken turn. Unlike a typed turn, it gets no response that ends it."""
        if self._turn is not None and not self._turn.typed:
            self._finish()

    def end(self, reason: str, error: str = "") -> None:
        """Close the session. Its typed turns that have no answer yet end with an error."""
        if not self.is_open:
            return
        self.is_open = False
        if self._pause is not None:
            self._pause.cancel()
        self._stop_holding()
        if self._turn is not None:
            self._finish(f"the session ended: {error or reason}" if self._turn.typed else "")
        while self._waiting:
            self._begin(typed=True, text=self._waiting.popleft())
            self._finish(f"not sent: the session ended: {error or reason}")
        for answer in self._answers.values():
            if not answer.done():
                answer.set_exception(UserError("the session has ended"))
        self._job.emit(se.SessionEnded(*self._key, reason, error))

    # -- from the child -------------------------------------------------------------------------------------

    def receive(self, message: ch.SessionMessage) -> None:
        match message:
            case ch.SessionDelta(text=text):
                if self._turn is not None and self._turn.first_delta is None:
                    self._turn.first_delta = self._job.now()
                if self._reply_generation is None:
                    self._reply_generation = self.generation
                self._job.emit(se.MessageDelta(*self._key, self._last_turn, text))
            case ch.SessionClosed(reason=reason, error=error):
                self.end(reason, error and (self._last_failure or error))
            case ch.SwapWaits(generation=generation, tool=tool):
                self.waits_for_swap = True
                self._job.emit(se.SwapWaiting(*self._key, self._last_turn, generation, tool))
                self._release()
            case ch.Swapped():
                self._swapped(message)
            case ch.SessionData(data={"event": event}):
                self._event_at = self._sent_at(event.get("created_at"))
                for name, value in event.items():
                    if handle := _EVENTS.get(name):
                        handle(self, value)
            case ch.SessionData(data={"response": response}):
                self._respond(response)
            case _:
                pass

    def _sent_at(self, created_at: str | None) -> float:
        """Convert the time of an event to seconds of the monotonic clock: from the turn's start until now.

        A blocked event loop sends its events late, so the time of receipt is wrong: a tool that blocks the
        loop would start when it ends. The job runs on this machine, so both have the same clock.
        """
        now = self._job.now()
        try:
            created = seconds(created_at)
        except ValueError:
            created = None
        if created is None:
            return now
        first = self._opened if self._turn is None else self._turn.started
        return min(max(now - (self._job.time() - created), first), now)

    def _swapped(self, message: ch.Swapped) -> None:
        before, generation = self.generation, message.generation
        self.waits_for_swap = False
        if message.reached is not se.SwapReach.NONE:
            self.generation = self._job.generation = generation
        self._job.emit(
            se.Swapped(
                *self._key,
                self._last_turn,
                before,
                generation,
                message.reached,
                message.notes if message.reached is se.SwapReach.NONE else (*message.notes, *self._kept),
                message.duration_ms,
                self._changed,
            )
        )
        self._release()

    def _respond(self, response: Data) -> None:
        request_id = response.get("request_id", "")
        if answer := self._answers.pop(request_id, None):
            if not answer.done():
                answer.set_result(response)
            return
        turn = self._turn
        if turn is None or turn.request_id != request_id:
            return  # the answer of a turn that timed out
        for item in response.get("run_input", {}).get("items", ()):
            self._add(item)
        error = response.get("error", "")
        # livekit-agents 1.5 reports no error for a turn without an answer.
        if self._failures and (error or not turn.has_reply):
            error = self._last_failure
        self._finish(error)
        self._next()

    def _request(self, name: str, value: Data) -> str:
        request_id = str(next(self._requests))
        data = {"request": {"request_id": request_id, name: value}}
        self._job.send(ch.SessionRequest(self._child_number, data))
        return request_id

    async def ask(self, name: str) -> Data:
        """Return the answer to a request without arguments. Raise UserError if it fails or comes too late."""
        request_id = self._request(name, {})
        answer = self._answers[request_id] = self._loop.create_future()
        try:
            async with asyncio.timeout(ANSWER_S):
                response = await answer
        except TimeoutError:
            raise UserError(f"the session did not answer within {duration_text(ANSWER_S)}") from None
        finally:
            self._answers.pop(request_id, None)
        if response.get("error"):
            raise UserError(f"the session answered: {response['error']}")
        value: Data = response.get(name, {})
        return value

    def _on_agent_state(self, value: Data) -> None:
        self._agent_state = state_of(value, "initializing")
        self._job.emit(se.AgentStateChanged(*self._key, self._agent_state))
        if self._agent_state in _SILENT and self._turn is not None and self._turn.has_reply:
            self._finish_spoken()

    def _on_user_state(self, value: Data) -> None:
        self._job.emit(se.UserStateChanged(*self._key, state_of(value, "speaking")))

    def _on_item(self, value: Data) -> None:
        self._add(value.get("item", {}))

    def _add(self, item: Data) -> None:
        """Emit a message or handoff, unless it was emitted before. Other events report tool calls."""
        for kind, value in item.items():
            identity = value.get("id") or ""
            if kind not in ("message", "agent_handoff") or identity in self._seen:
                continue
            if identity:
                self._seen[identity] = None
            if kind == "message":
                self._add_message(value)
            else:
                old, new = value.get("old_agent_id", ""), value.get("new_agent_id", "")
                self._job.emit(se.HandedOff(*self._key, self._last_turn, old, new))

    def _add_message(self, value: Data) -> None:
        role = value.get("role", "").lower()
        if role not in (se.Role.USER, se.Role.ASSISTANT):
            return
        times = value.get("metrics", {})
        metrics = latencies(times)
        if role == se.Role.USER:
            if self._turn is None or not self._turn.typed or self._turn.has_user_message:
                self._finish_spoken()
                if self._turn is None:
                    self._begin(typed=False)
            if self._turn is not None:
                self._turn.has_user_message = True
        elif self._turn is not None:
            self._turn.has_reply = True
        if self._turn is not None:
            self._turn.metrics = metrics | self._turn.metrics  # of the first answer: what the user waited for
        generation = self.generation
        if role == se.Role.ASSISTANT and self._reply_generation is not None:
            generation, self._reply_generation = self._reply_generation, None
        self._job.emit(
            se.MessageAdded(
                *self._key,
                self._last_turn,
                se.Role(role),
                "".join(each.get("text", "") for each in value.get("content", ())),
                value.get("interrupted", False),
                generation,
                metrics,
                seconds(times.get("started_speaking_at")),
                seconds(times.get("stopped_speaking_at")),
            )
        )

    def _on_tools(self, value: Data) -> None:
        outputs = {each.get("call_id"): each for each in value.get("function_call_outputs", ())}
        for call in value.get("function_calls", ()):
            call_id = call.get("call_id", "")
            output = outputs.get(call_id, {})
            started = self._tools.pop(call_id, None)
            ended = self._returned.pop(call_id, self._event_at)
            self._job.emit(
                se.ToolCalled(
                    *self._key,
                    self._last_turn,
                    call.get("name", ""),
                    call.get("arguments", ""),
                    output.get("output", ""),
                    output.get("is_error", False),
                    None if started is None else max(ended - started, 0.0) * 1000,
                    call_id,
                    None if started is None else self._wall(started),
                    output.get("error", ""),
                )
            )

    def _on_tool_update(self, value: Data) -> None:
        if call := value.get("started", {}).get("function_call"):
            call_id = call.get("call_id", "")
            started = self._tools[call_id] = self._event_at
            name, arguments, at = call.get("name", ""), call.get("arguments", ""), self._wall(started)
            self._job.emit(se.ToolStarted(*self._key, self._last_turn, name, arguments, call_id, at))
        elif (call_id := value.get("ended", {}).get("call_id", "")) in self._tools:
            self._returned[call_id] = self._event_at

    def _wall(self, at: float) -> float:
        """Convert seconds of the monotonic clock to Unix seconds."""
        return self._job.time() - (self._job.now() - at)

    def _on_usage(self, value: Data) -> None:
        for usage in value.get("usage", {}).get("model_usage", ()):
            for kind, figures in usage.items():
                model = figures.get("model", "") or kind
                provider = figures.get("provider", "")
                units = units_of(figures)
                cost = self._job.cost(model, units)
                self._job.emit(se.UsageChanged(*self._key, model, provider, units, cost))

    def _on_prediction(self, value: Data) -> None:
        probability, threshold = value.get("probability", 0.0), value.get("threshold", 0.0)
        self._job.emit(se.EndOfTurnPredicted(*self._key, self._last_turn, probability, threshold))

    def _on_error(self, value: Data) -> None:
        component, provider, retrying, failure = failure_of(value)
        self._last_failure = failure.text
        self._failures[component, failure.text] += 1
        self._job.emit(
            se.SessionFailed(
                *self._key,
                component,
                failure.text,
                provider,
                failure.kind,
                failure.names,
                failure.host,
                failure.status,
                retrying,
                self._failures[component, failure.text],
            )
        )


_EVENTS: dict[str, Callable[[Session, Data], None]] = {
    "agent_state_changed": Session._on_agent_state,
    "user_state_changed": Session._on_user_state,
    "conversation_item_added": Session._on_item,
    "function_tools_executed": Session._on_tools,
    "tool_execution_updated": Session._on_tool_update,
    "session_usage_updated": Session._on_usage,
    "eot_prediction": Session._on_prediction,
    "error": Session._on_error,
}
"""The handler of each event of the protocol. Other events are ignored."""
