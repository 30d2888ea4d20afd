"""The tap: reports what happens in the sessions of a job to the host, and passes typed turns to them.

The tap attaches a `SessionHost` of the SDK to each `AgentSession`. The SDK itself may attach another one, for
the room (conversation.md §2.1). The tap's messages are sent on the process's channel, as JSON.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import importlib
import logging
from typing import TYPE_CHECKING, Any, Callable

from . import lk_failures

if TYPE_CHECKING:
    from .process import HostLink

_log = logging.getLogger("agent-tui")

DELTA_S = 0.02
"""Seconds for which the text of a reply is collected before it is sent."""

CASES = ("session_request", "interrupt_session")
"""The messages of the host that are for a session."""

_tap: Tap | None = None
"""The tap of this process; None until a job starts, so a template has none."""


def patch() -> None:
    """Patch `AgentSession`: when a session of this process or of a fork starts, a tap attaches to it, if any.

    Call this before the agent's file runs. An SDK without `SessionHost` is not changed.
    """
    with contextlib.suppress(ImportError, AttributeError):
        module = importlib.import_module("livekit.agents.voice.remote_session")
        session = importlib.import_module("livekit.agents.voice.agent_session").AgentSession
        if hasattr(module, "SessionHost") and not hasattr(session.start, "__wrapped__"):
            session.start = _tapped_start(session.start)
            if isinstance(getattr(session, "_text_only", None), property):
                session._text_only = _text_only(session._text_only)
            generation: Any = importlib.import_module("livekit.agents.voice.generation")
            generation.make_tool_output = _noting_errors(generation.make_tool_output)


def install(link: HostLink) -> Tap:
    """Return the tap of this job process; sessions that start from now on use it."""
    global _tap
    _tap = Tap(link)
    return _tap


def _tapped_start(start: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(start)
    async def tapped(session: Any, *args: Any, **kwargs: Any) -> Any:
        if _tap is None:
            return await start(session, *args, **kwargs)
        attached = await _tap.attach(session)
        try:
            result = await start(session, *args, **kwargs)
        except BaseException as error:
            if attached is not None:
                attached.close("error", f"{type(error).__name__}: {error}")
            raise
        if attached is not None:
            attached.started()
        return result

    return tapped


def _text_only(original: property) -> property:
    """Return a property that is also true if the tap's sessions run without audio.

    It replaces the SDK's own, since 1.6. A session with it uses no STT, VAD, TTS, or turn detector.
    """
    return property(lambda session: bool(_tap is not None and _tap.text_only) or original.__get__(session))


def _noting_errors(original: Callable[..., Any]) -> Callable[..., Any]:
    """Return the SDK's function that makes a result for the LLM; this one also notes what the tool raised."""

    @functools.wraps(original)
    def make(*args: Any, **kwargs: Any) -> Any:
        result = original(*args, **kwargs)
        if _tap is not None:
            with contextlib.suppress(Exception):  # the tool's result must not depend on this
                _tap.note_tool_error(result.fnc_call_out, result.raw_exception)
        return result

    return make


class Tap:
    """The sessions of one job, numbered from 1 in the order in which they start."""

    def __init__(self, link: HostLink) -> None:
        self.text_only = link.text_only
        """Whether sessions run without audio."""
        self.send, self.offer = link.send, link.offer
        self.on_change: Callable[[], None] = lambda: None
        """Called when a session ended, or may have become able to take new code."""
        self.tool_errors: dict[str, str] = {}
        """What tools raised, by call id, until their results are sent. The LLM gets another text."""
        self._sessions: dict[int, TappedSession] = {}
        self._known: set[int] = set()

    @property
    def open_sessions(self) -> list[TappedSession]:
        """The sessions that have started and not ended."""
        return [each for each in self._sessions.values() if each.is_open]

    async def attach(self, session: Any) -> TappedSession | None:
        """Attach to a session that is about to start. Return None if that fails or was done before."""
        if id(session) in self._known:
            return None
        self._known.add(id(session))
        number = len(self._sessions) + 1
        try:
            attached = self._sessions[number] = TappedSession(self, number, session)
            await attached.open()
        except Exception as error:
            _log.warning("agent-tui cannot show session %d: %s: %s", number, type(error).__name__, error)
            return None
        return attached

    def note_tool_error(self, returned: Any, error: BaseException | None) -> None:
        """Note what a tool raised, unless the LLM gets the same text, as that of a `ToolError`."""
        if returned is not None and error is not None and getattr(error, "message", "") != returned.output:
            self.tool_errors[returned.call_id] = lk_failures.tool_error(error)

    def receive(self, case: str, value: dict[str, Any]) -> None:
        """Pass a message of the host to its session. Called in the thread that reads the channel."""
        session = self._sessions.get(value["session"])
        if session is not None:
            session.receive(case, value)


class TappedSession:
    """One session and the `SessionHost` that the tap attached to it. Belongs to the job's event loop."""

    def __init__(self, tap: Tap, number: int, session: Any) -> None:
        self.number = number
        self.session = session
        self.is_open = False
        """Whether the session has started and not ended."""
        self._tap = tap
        self._tools: dict[str, str] = {}
        """The names of the running tools, by call id."""
        self._loop = asyncio.get_running_loop()
        self._closed = False
        self._delta = ""
        self._remote = importlib.import_module("livekit.agents.voice.remote_session")
        self._message = importlib.import_module("livekit.protocol.agent_pb.agent_session").AgentSessionMessage
        self._json = importlib.import_module("google.protobuf.json_format")
        self._incoming: asyncio.Queue[Any] = asyncio.Queue()
        self._host = self._remote.SessionHost(self._transport())
        self._failures: list[dict[str, Any]] = []
        """The errors whose events have not been sent yet, of which the SDK's host sends only a text."""
        self._closing: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Attach the host. Call this before the session starts.

        Otherwise livekit-agents 1.5 loses the events before the call (conversation.md §2.1).
        """
        if self._tap.text_only and not isinstance(getattr(type(self.session), "_text_only", None), property):
            self.session.input.set_audio_enabled(False)
            self.session.output.set_audio_enabled(False)
        if (report := getattr(self._host, "_on_error", None)) is not None:
            self._host._on_error = functools.partial(_both, report, self._on_error)
        self._host.register_session(self.session)
        await self._host.start()
        self.session.on("close", self._on_close)
        self.session.on("tool_execution_updated", self._on_tool)
        self.session.on("agent_state_changed", lambda _: self._tap.on_change())

    def started(self) -> None:
        """Report that the session started, and follow the text of its replies from now on."""
        agent = getattr(self.session, "current_agent", None)
        self.is_open = not self._closed
        self._tap.send(
            "session_started",
            session=self.number,
            agent=str(getattr(agent, "id", "")),
            text_only=self._is_text_only(),
            realtime=self._is_realtime(agent),
        )
        with contextlib.suppress(Exception):
            self._follow_text()
        with contextlib.suppress(Exception):
            self._follow_predictions()

    def close(self, reason: str, error: str = "") -> None:
        """Report that the session ended. Further calls have no effect."""
        if not self._closed:
            self._closed, self.is_open = True, False
            self._flush()
            self._tap.send("session_closed", session=self.number, reason=reason, error=error)
            self._closing = self._loop.create_task(self._host.aclose())
            self._tap.on_change()

    @property
    def running_tool(self) -> str | None:
        """The name of a tool that is running; None if there is none.

        livekit-agents before 1.8 reports no tools: then it is empty while the agent thinks.
        """
        if hasattr(self.session, "_tool_execution_updated"):
            return next(iter(self._tools.values()), None)
        return "" if getattr(self.session, "agent_state", "") == "thinking" else None

    def receive(self, case: str, value: dict[str, Any]) -> None:
        with contextlib.suppress(RuntimeError):  # the loop has ended
            self._loop.call_soon_threadsafe(self._handle, case, value)

    def _handle(self, case: str, value: dict[str, Any]) -> None:
        if case == "interrupt_session":
            with contextlib.suppress(RuntimeError):  # nothing to interrupt
                self.session.interrupt(force=True)
        else:
            parse = self._json.ParseDict
            try:
                self._incoming.put_nowait(parse(value["data"], self._message(), ignore_unknown_fields=True))
            except self._json.ParseError as error:
                request_id = value["data"].get("request", {}).get("request_id", "")
                response = {"request_id": request_id, "error": str(error)}
                self._tap.send("session_data", session=self.number, data={"response": response})

    def _on_tool(self, event: Any) -> None:
        update = event.update
        if update.type == "tool_call_started":
            self._tools[update.function_call.call_id] = update.function_call.name
        elif update.type == "tool_call_ended":
            self._tools.pop(update.call_id, None)
            self._tap.on_change()

    def _on_error(self, event: Any) -> None:
        self._failures.append(lk_failures.describe(event.error))

    def _is_text_only(self) -> bool:
        own = getattr(self.session, "_text_only", None)
        return bool(own) if own is not None else self._tap.text_only

    def _is_realtime(self, agent: Any) -> bool:
        model = importlib.import_module("livekit.agents.llm").RealtimeModel
        return any(isinstance(getattr(each, "llm", None), model) for each in (agent, self.session))

    def _on_close(self, event: Any) -> None:
        reason = getattr(event, "reason", "")
        error = getattr(event, "error", None)
        detail = getattr(error, "error", error)  # the SDK wraps what a component raised
        self.close(str(getattr(reason, "value", reason)), "" if detail is None else f"{detail}")

    def _transport(self) -> Any:
        tapped = self

        class ChannelTransport(self._remote.SessionTransport):  # type: ignore[misc, name-defined]
            """Carries the SDK's messages over the process's channel. Sending never waits."""

            async def start(self) -> None:
                """Do nothing: the channel is open already."""

            async def send_message(self, message: Any) -> None:
                data = tapped._json.MessageToDict(message, preserving_proto_field_name=True)
                event = data.get("event", {})
                if "error" in event and tapped._failures:
                    event["error"] = tapped._failures.pop(0)
                for each in event.get("function_tools_executed", {}).get("function_call_outputs", ()):
                    if error := tapped._tap.tool_errors.pop(each.get("call_id", ""), ""):
                        each["error"] = error
                tapped._tap.send("session_data", session=tapped.number, data=data)

            async def close(self) -> None:
                tapped._incoming.put_nowait(None)

            def __aiter__(self) -> Any:
                return self

            async def __anext__(self) -> Any:
                message = await tapped._incoming.get()
                if message is None:
                    raise StopAsyncIteration
                return message

        return ChannelTransport()

    # -- what the SDK's host does not send --------------------------------------------------------------

    def _follow_text(self) -> None:
        """Report the text of replies as it comes, from an output in front of the session's text outputs."""
        io = importlib.import_module("livekit.agents.voice.io")
        tapped, output = self, self.session.output

        class Deltas(io.TextOutput):  # type: ignore[misc, name-defined]
            async def capture_text(self, text: str) -> None:
                tapped._add(str(text))
                if self.next_in_chain is not None:
                    await self.next_in_chain.capture_text(text)

            def flush(self) -> None:
                tapped._flush()
                if self.next_in_chain is not None:
                    self.next_in_chain.flush()

        output.transcription = Deltas(label="agent-tui", next_in_chain=output.transcription)

    def _add(self, text: str) -> None:
        if not self._delta:
            self._loop.call_later(DELTA_S, self._flush)
        self._delta += text

    def _flush(self) -> None:
        text, self._delta = self._delta, ""
        if text:
            self._tap.offer("session_delta", session=self.number, text=text)

    def _follow_predictions(self) -> None:
        """Also get the predictions that the SDK sends only to the room's host (conversation.md §2.4)."""
        primary = self.session._session_host
        if primary is None:
            self.session._session_host = self._host
            return
        for name in ("_on_eot_prediction", "_on_amd_prediction"):
            theirs, ours = getattr(primary, name, None), getattr(self._host, name, None)
            if theirs is not None and ours is not None:
                setattr(primary, name, functools.partial(_both, theirs, ours))


def _both(first: Callable[..., Any], second: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    second(*args, **kwargs)
    return first(*args, **kwargs)
