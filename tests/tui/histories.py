"""Event histories, one per state of the screen. The clock does not move."""

from pathlib import Path

from agent_tui.model import events as ev
from agent_tui.model import session_events as se
from agent_tui.model.child import MemoryMeasure, ProcessKind
from agent_tui.model.logs import LogLevel
from tests.fakes.engine import FakeEngine
from tests.tui.hostile import HOSTILE

ROOT = Path(__file__).resolve().parents[2]
EMBEDDED = ev.ServerChosen(
    ev.ServerKind.EMBEDDED, "ws://127.0.0.1:40123", "127.0.0.1", remote=False, media=False
)
LOCAL = ev.ServerChosen(ev.ServerKind.FOUND, "ws://localhost:7880", "localhost", remote=False, media=True)
REMOTE = ev.ServerChosen(
    ev.ServerKind.CONFIGURED, "wss://my.livekit.cloud", "my.livekit.cloud", remote=True, media=True
)
STARTING = (
    ev.Starting("0.1.0", "/home/ann/voice/agent.py", ""),
    ev.InterpreterChosen("/home/ann/voice/.venv/bin/python", "3.11.7", ".venv in /home/ann/voice", ()),
)
READY = ev.GenerationReady(
    1, None, "start", "livekit-agents", "1.8.9", ev.StartMethod.FORK, "loading takes 9 ms", 9.2
)

REGISTERED = ev.WorkerRegistered("AW_9xKq2LmN4pRt", EMBEDDED.url, EMBEDDED.kind, "1.13.5", "")


def process(id: str, pid: int, state: ev.ProcessState, **more: object) -> ev.ProcessChanged:
    return ev.ProcessChanged(id, pid, ProcessKind.JOB, state, 1, **more)  # type: ignore[arg-type]


def starting(engine: FakeEngine) -> None:
    """The host is up; the SDK is being imported."""
    engine.publish(*STARTING, EMBEDDED, ev.GenerationLoading(1, "start"))
    control = ev.ProcessChanged("c1", 8100, ProcessKind.CONTROL, ev.ProcessState.STARTING, 1)
    engine.publish(control)


def idle(engine: FakeEngine, server: ev.ServerChosen = EMBEDDED) -> None:
    """Registered, one process warm, nothing to do."""
    starting(engine)
    engine.publish(
        server,
        READY,
        ev.WorkerRegistered(
            "AW_9xKq2LmN4pRt",
            server.url,
            server.kind,
            "1.13.5",
            "",
            deployment="ann-laptop" if server.remote else "",
        ),
        ev.HttpListening("http://127.0.0.1:40999"),
        process("p1", 8123, ev.ProcessState.STARTING),
        process("p1", 8123, ev.ProcessState.IDLE),
        ev.ProcessMeasured("p1", 131.4, 92.0, 108.5),
        ev.ProcessPinged("p1", 1.2),
        ev.WorkerLoadMeasured(0.12, 0.0),
    )
    engine.log("prewarm done", process="p1")


def busy(engine: FakeEngine, server: ev.ServerChosen = EMBEDDED) -> None:
    """Two running jobs, a successful and a failed one, and a memory warning."""
    idle(engine, server)
    for number, (job, room) in enumerate(
        [("AJ_k3Lm9QxTzW2a", "demo-1"), ("AJ_Zz81kPpQ0sVb", "demo-2"), ("AJ_r7Tt2MmN5cXd", "demo-3")], 1
    ):
        pid = 8122 + number
        if number > 1:
            engine.publish(process(f"p{number}", pid, ev.ProcessState.IDLE))
        engine.publish(
            ev.Dispatched(room, "", None, number),
            ev.OfferReceived(job, room, "", 1, number),
            ev.OfferAnswered(job, accepted=True),
            ev.JobAssigned(job, room),
            process(f"p{number}", pid, ev.ProcessState.JOB, job_id=job),
            ev.JobStarted(job, room, f"p{number}", pid, 1, number == 1, 3.9 * number, 11.0 * number),
            ev.ProcessMeasured(f"p{number}", 300.0 + number, 24.0 + number, 170.0),
            ev.ProcessPinged(f"p{number}", 0.8),
        )
        engine.store.set_owner(f"p{number}", 0, job)
        engine.log(f"user said hello in {room}", process=f"p{number}")
        engine.clock.advance(1.0)
    engine.publish(
        ev.MemoryWarned(
            "p1", 8123, "AJ_k3Lm9QxTzW2a", 1012.0, MemoryMeasure.RSS, 1012.0, 640.0, 1000.0, 0.0, 131.0
        ),
        process(
            "p3",
            8125,
            ev.ProcessState.ENDED,
            job_id="AJ_r7Tt2MmN5cXd",
            reason="ValueError: no",
            exit_code=0,
            ended_by=ev.EndedBy.CRASH,
        ),
        ev.JobEnded(
            "AJ_r7Tt2MmN5cXd",
            "demo-3",
            8125,
            1,
            ev.JobStatus.FAILED,
            "ValueError: no",
            1.0,
            ended_by=ev.EndedBy.CRASH,
        ),
        process("p4", 8126, ev.ProcessState.IDLE),
    )
    engine.log("Traceback (most recent call last):\n  File …\nValueError: no", LogLevel.ERROR, "p3")


def disconnected(engine: FakeEngine) -> None:
    """The connection is lost while a job runs."""
    busy(engine)
    engine.publish(ev.WorkerDisconnected("nothing is listening on 127.0.0.1:40123", 4.0, 2))


def broken(engine: FakeEngine) -> None:
    """The agent file failed to load."""
    starting(engine)
    traceback = (
        "  File \"/home/ann/voice/agent.py\", line 12\n    async def entry(ctx)\nSyntaxError: expected ':'\n"
    )
    engine.publish(
        ev.GenerationFailed(1, "SyntaxError: expected ':'", "/home/ann/voice/agent.py", 12, traceback)
    )


def stale(engine: FakeEngine) -> None:
    """Jobs run on old code, and the newest save failed to load."""
    busy(engine)
    agent = "/home/ann/voice/agent.py"
    engine.publish(
        ev.GenerationReady(
            2,
            0.0541,
            agent,
            "livekit-agents",
            "1.8.9",
            ev.StartMethod.FORK,
            "loading takes 9 ms",
            9.2,
            (agent, "/home/ann/voice/tools/search.py"),
        ),
        process("p4", 8126, ev.ProcessState.ENDED, reason="generation 2 took over", exit_code=0),
        ev.ProcessChanged("b1", 8099, ProcessKind.BASE, ev.ProcessState.STARTING, 0),
        ev.ProcessMeasured("b1", 372.0, 96.0, 210.0),
        ev.ProcessChanged("p5", 8140, ProcessKind.JOB, ev.ProcessState.IDLE, 2),
    )
    engine.clock.advance(4.0)
    traceback = (
        "Traceback (most recent call last):\n"
        '  File "/home/ann/voice/agent.py", line 3, in <module>\n    from tools import search\n'
        '  File "/home/ann/voice/tools/search.py", line 7, in <module>\n    KEY = os.environ["SEARCH_KEY"]\n'
        "KeyError: 'SEARCH_KEY'\n"
    )
    file = "/home/ann/voice/tools/search.py"
    engine.publish(ev.GenerationFailed(3, "KeyError: 'SEARCH_KEY'", file, 7, traceback, file, 0.048))


def paused(engine: FakeEngine) -> None:
    """Reload on saves is paused."""
    idle(engine)
    engine.publish(ev.WatchingChanged(True))


def refused(engine: FakeEngine) -> None:
    """The server refused the credentials."""
    starting(engine)
    engine.publish(
        LOCAL,
        READY,
        ev.WorkerRefused(
            "the API secret does not match API key 'devkey': the server rejected the token's signature "
            "(ws://localhost:7880/agent, HTTP 401)",
            "check LIVEKIT_API_SECRET in .env:2",
        ),
    )


def hostile(engine: FakeEngine, text: str = HOSTILE) -> None:
    """All outside text is this hostile text."""
    busy(engine)
    engine.log(text)
    engine.publish(
        ev.Dispatched(text, text, None, 4),
        ev.OfferReceived("AJ_h", text, "", 1, 4),
        ev.JobStarted("AJ_h", text, "p9", 9, 1, True, 1.0, 2.0),
        process("p9", 9, ev.ProcessState.JOB, job_id="AJ_h"),
        ev.JobEnded("AJ_h", text, 9, 1, ev.JobStatus.FAILED, text, 1.0),
        ev.WorkerDisconnected(text, 1.0, 1),
        ev.WorkerRegistered(text, text, ev.ServerKind.EMBEDDED, text, text),
        ev.GenerationFailed(2, text, text, 3, text),
        ev.MemoryWarned("p9", 9, text, 1.0, MemoryMeasure.RSS, 1.0, 1.0, 1.0, 0.0, 1.0),
        ev.JobLost(text, text),
    )


def agents_js(engine: FakeEngine) -> None:
    """A TypeScript file: one running job, one idle process, two blanks."""
    sdk = "/home/ann/desk/node_modules/@livekit/agents"
    engine.publish(
        ev.Starting("0.1.0", "/home/ann/desk/src/agent.ts", ""),
        ev.InterpreterChosen(
            "/home/ann/.nvm/versions/node/v22.12.0/bin/node",
            "22.12.0",
            "nvm, .nvmrc",
            (),
            "Node",
            f"@livekit/agents 1.9.0 in {sdk} (ESM)",
            "tsx in /home/ann/desk/node_modules/tsx",
        ),
        EMBEDDED,
        ev.GenerationReady(
            1, None, "start", "agents-js", "1.9.0", ev.StartMethod.BLANK, "Node cannot fork", 14.0
        ),
        REGISTERED,
        ev.HttpListening("http://127.0.0.1:40999"),
        ev.WorkerLoadMeasured(0.08, 0.0),
    )
    job = "AJ_k3Lm9QxTzW2a"
    engine.publish(
        ev.Dispatched("demo-1", "", None, 1),
        ev.OfferReceived(job, "demo-1", "", 1, 1),
        ev.OfferAnswered(job, accepted=True),
        ev.JobAssigned(job, "demo-1"),
        process("p1", 8131, ev.ProcessState.JOB, job_id=job),
        ev.JobStarted(job, "demo-1", "p1", 8131, 1, True, 4.1, 12.0),
        process("p2", 8140, ev.ProcessState.IDLE),
    )
    for number, pid in ((3, 8152), (4, 8160)):
        blank = ev.ProcessChanged(f"k{number}", pid, ProcessKind.BLANK, ev.ProcessState.IDLE, 0)
        engine.publish(blank)
    for name, mb in (("p1", 96.0), ("p2", 88.0), ("k3", 81.0), ("k4", 81.0)):
        used = mb + 52
        engine.publish(ev.ProcessMeasured(name, used, mb, mb + 8, cpu_pct=1.0, used_mb=used))
    engine.store.set_owner("p1", 0, job)
    engine.log("Hello, test user", process="p1")


def lost(engine: FakeEngine) -> None:
    """One test dispatch waits, one was lost."""
    idle(engine)
    engine.publish(
        ev.Dispatched("demo-1", "", None, 1),
        ev.JobLost("demo-1", "another worker took the job", "AJ_l0st", 1),
        ev.Dispatched("demo-2", "", None, 2),
    )
    engine.clock.advance(3.0)


def memory(engine: FakeEngine) -> None:
    """A job's memory grows over the warning; the process has warned twice. Another one is blocked."""
    busy(engine)
    for mb in (140.0, 320.0, 760.0, 1180.0, 1420.0):
        engine.publish(ev.ProcessMeasured("p1", mb, mb - 40, mb - 20, cpu_pct=12.0, used_mb=mb))
        engine.clock.advance(5.0)
    job = "AJ_k3Lm9QxTzW2a"
    engine.publish(
        ev.MemoryWarned("p1", 8123, job, 1420.0, MemoryMeasure.RSS, 1420.0, 1380.0, 1000.0, 0.0, 131.0),
        ev.ProcessBlocked("p2", 8124, "AJ_Zz81kPpQ0sVb", 0.5, "agent.py:12 in entry", ""),
    )
    engine.clock.advance(4.0)


TALKING = "AJ_k3Lm9QxTzW2a"
"""The job of `demo-1`, which has a conversation in the history `talk`."""


def said(
    turn: int, role: se.Role, text: str, generation: int = 1, session: int = 1, **more: object
) -> se.MessageAdded:
    interrupted = bool(more.pop("interrupted", False))
    return se.MessageAdded(TALKING, session, turn, role, text, interrupted, generation, **more)  # type: ignore[arg-type]


def talk(engine: FakeEngine) -> None:
    """A conversation of the first job: a greeting, four turns, one of them running, and a queue."""
    busy(engine)
    key = (TALKING, 1)
    you, agent = se.Role.USER, se.Role.ASSISTANT

    def after(seconds: float, *events: se.SessionEvent) -> None:
        engine.clock.advance(seconds)
        engine.publish(*events)

    def used(tokens: float) -> se.UsageChanged:
        return se.UsageChanged(
            *key, "gpt-5", "openai", {"input_tokens": tokens, "output_tokens": tokens / 10}
        )

    engine.publish(
        se.SessionStarted(*key, "receptionist", True, 1), se.AgentStateChanged(*key, "speaking"), used(100.0)
    )
    after(0.4, said(0, agent, "Good evening, this is the front desk. How can I help you?"))
    after(3.0, se.TurnQueued(*key, "any room on Friday?"))
    after(0.0, se.TurnStarted(*key, 1, True, 1, "any room on Friday?"), said(1, you, "any room on Friday?"))
    arguments, rooms = '{"day": "Fri"}', "['garden view, 90 €', 'attic, 75 €']"
    after(0.312, se.ToolStarted(*key, 1, "find_rooms", arguments, "c1"))
    after(0.120, se.ToolCalled(*key, 1, "find_rooms", arguments, rooms, False, 120.0, "c1"))
    after(0.180, se.MessageDelta(*key, 1, "Yes, "))
    after(
        0.3,
        used(512.0),
        said(1, agent, "Yes, two are free: the garden view for 90 €, and the attic for 75 €."),
    )
    after(0.0, se.TurnEnded(*key, 1, True, 912.0, 612.0, {"llm_ttft": 171.0}))
    after(4.0, se.TurnStarted(*key, 2, True, 2, "And is it quiet, and who do I pay?"))
    after(0.1, said(2, you, "And is it quiet, and who do I pay?", 2))
    after(0.9, se.ToolStarted(*key, 2, "ask_owner", '{"about": "noise"}', "c2"))
    after(1.7, se.ToolCalled(*key, 2, "ask_owner", '{"about": "noise"}', "no answer", True, 1700.0, "c2"))
    after(0.1, se.HandedOff(*key, 2, "receptionist", "billing"))
    after(0.2, se.MessageDelta(*key, 2, "I could not reach the owner"))
    after(0.2, said(2, agent, "I could not reach the owner; as for", 2, interrupted=True))
    after(0.0, used(900.0), se.TurnEnded(*key, 2, True, 3200.0, 3000.0, {}))
    after(2.0, se.TurnStarted(*key, 3, True, 2, "hello?"), said(3, you, "hello?", 2))
    after(1.0, se.SessionFailed(*key, "llm", "APIStatusError: 429 Too Many Requests"))
    after(1.0, se.TurnEnded(*key, 3, True, 2000.0, None, {}, "the LLM failed"))
    after(
        1.0,
        se.TurnStarted(*key, 4, True, 2, "Then I'll take the attic."),
        said(4, you, "Then I'll take the attic.", 2),
    )
    after(0.1, se.AgentStateChanged(*key, "speaking"), se.MessageDelta(*key, 4, "Lovely, the attic is"))
    after(0.1, se.TurnQueued(*key, "for two nights"))


ALL = {
    "starting": starting,
    "idle": idle,
    "busy": busy,
    "disconnected": disconnected,
    "broken": broken,
    "refused": refused,
    "stale": stale,
    "paused": paused,
    "agents-js": agents_js,
    "lost": lost,
    "memory": memory,
    "talk": talk,
}
