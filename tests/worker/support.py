"""A loop with virtual time, a server in memory, a recorder of events."""

import asyncio
import math
import random
import selectors
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, TypeVar

from livekit.protocol import agent

from agent_tui.worker.connection import Transport, TransportLostError
from agent_tui.worker.messages import Registration, WorkerEvent
from agent_tui.worker.protocol import Timings
from agent_tui.worker.urls import ServerAddress
from agent_tui.worker.worker import Worker, WorkerOptions

E = TypeVar("E", bound=WorkerEvent)

DEV = ServerAddress("ws://localhost:7880", "devkey", "secret")
EPOCH = 1_700_000_000.0


class _JumpingSelector(selectors.SelectSelector):
    """Never waits: where a real one would, it advances the loop's time instead."""

    now = 0.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        ready = super().select(0)
        if not ready and timeout is None:
            raise AssertionError("every task waits for something that cannot happen any more")
        if not ready and timeout is not None:
            self.now += max(timeout, 0.0)
        return ready


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop in which an hour passes in no time."""

    def __init__(self) -> None:
        self._jumping = _JumpingSelector()
        super().__init__(self._jumping)

    def time(self) -> float:
        return self._jumping.now

    def stall(self, seconds: float) -> None:
        """Let time pass without running any task, as when the process is stopped."""
        self._jumping.now += seconds


class LoopClock:
    """The running loop's time as the project's clock."""

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()

    def boottime(self) -> float:
        return self.monotonic()

    def time(self) -> float:
        return EPOCH + self.monotonic()


def run_virtual(scenario: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run a scenario on a `VirtualLoop`, and check that it left no task behind."""

    async def checked() -> None:
        await scenario()
        left = asyncio.all_tasks() - {asyncio.current_task()}
        assert not left, f"tasks left behind: {left}"

    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        runner.run(checked())


class MemoryLink:
    """The server's end of a connection in memory. It answers pings and registrations unless set otherwise."""

    def __init__(
        self, worker_id: str, *, registers: bool = True, pongs: bool = True, send_takes_s: float = 0.0
    ) -> None:
        self.worker_id = worker_id
        self.registers = registers
        self.pongs = pongs
        self.send_takes_s = send_takes_s
        self.got: list[agent.WorkerMessage] = []
        self.closed = False
        self._incoming: asyncio.Queue[bytes | str | TransportLostError] = asyncio.Queue()

    async def send(self, frame: bytes) -> None:
        assert isinstance(frame, bytes)
        if self.closed:
            raise TransportLostError("closed")
        message = agent.WorkerMessage.FromString(frame)
        self.got.append(message)
        if message.WhichOneof("message") == "register" and self.registers:
            self.push(registered(self.worker_id))
        if message.WhichOneof("message") == "ping" and self.pongs:
            self.push(agent.ServerMessage(pong=agent.WorkerPong(last_timestamp=message.ping.timestamp)))
        await asyncio.sleep(self.send_takes_s)

    async def receive(self) -> bytes | str:
        item = await self._incoming.get()
        if isinstance(item, TransportLostError):
            raise item
        return item

    async def close(self) -> None:
        self.closed = True

    def push(self, message: agent.ServerMessage | bytes | str) -> None:
        raw = message.SerializeToString() if isinstance(message, agent.ServerMessage) else message
        self._incoming.put_nowait(raw)

    def hang_up(self) -> None:
        self._incoming.put_nowait(TransportLostError("the server dropped the connection"))

    def kinds(self) -> list[str]:
        return [message.WhichOneof("message") or "" for message in self.got]

    def statuses(self) -> list[agent.UpdateWorkerStatus]:
        return [m.update_worker for m in self.got if m.WhichOneof("message") == "update_worker"]


class MemoryServer:
    """A `Connect` that returns links or raises, as `script` says; the last entry is repeated."""

    def __init__(self, *script: Exception | Mapping[str, Any]) -> None:
        self._script = list(script) or [{}]
        self.links: list[MemoryLink] = []
        self.attempts: list[float] = []
        self.requests: list[tuple[str, Mapping[str, str]]] = []

    async def __call__(self, url: str, headers: Mapping[str, str]) -> Transport:
        self.attempts.append(asyncio.get_running_loop().time())
        self.requests.append((url, headers))
        step = self._script.pop(0) if len(self._script) > 1 else self._script[0]
        if isinstance(step, Exception):
            raise step
        self.links.append(MemoryLink(f"AW_{len(self.links) + 1}", **step))
        return self.links[-1]

    @property
    def link(self) -> MemoryLink:
        return self.links[-1]


class Recorder:
    """Keeps a worker's events, in order."""

    def __init__(self) -> None:
        self.events: list[WorkerEvent] = []
        self._news = asyncio.Event()

    def __call__(self, _: Worker, event: WorkerEvent) -> None:
        self.events.append(event)
        self._news.set()

    def all(self, kind: type[E]) -> list[E]:
        return [event for event in self.events if isinstance(event, kind)]

    async def until(self, kind: type[E], count: int = 1, timeout_s: float = 100.0) -> E:
        """Return the latest event of that kind, once there are `count` of them."""
        async with asyncio.timeout(timeout_s):
            while len(self.all(kind)) < count:
                self._news.clear()
                await self._news.wait()
        return self.all(kind)[-1]


async def no_load() -> float:
    return 0.0


def make_worker(connect: Any, on_event: Recorder, **changes: Any) -> Worker:
    """Return a worker in development on virtual time; `changes` replace its options or other arguments."""
    options: dict[str, Any] = {"load_threshold": math.inf, "max_retry": 10}
    options = {name: changes.pop(name, value) for name, value in options.items()}
    arguments: dict[str, Any] = {
        "registration": Registration(agent_name="a"),
        "server": DEV,
        "on_event": on_event,
        "measure_load": no_load,
        "production": False,
        "options": WorkerOptions(**options),
        "clock": LoopClock(),
        "timings": Timings(),
        "rng": random.Random(1),
        "connect": connect,
    }
    return Worker(**(arguments | changes))


def registered(worker_id: str = "AW_1") -> agent.ServerMessage:
    message = agent.ServerMessage()
    message.register.worker_id = worker_id
    message.register.server_info.version = "1.13.5"
    message.register.server_info.protocol = 17
    message.register.server_info.node_id = "ND_1"
    return message


def offer(job_id: str = "AJ_1", metadata: str = "") -> agent.ServerMessage:
    message = agent.ServerMessage()
    message.availability.job.id = job_id
    message.availability.job.room.name = "demo"
    message.availability.job.metadata = metadata
    message.availability.job.state.status = agent.JS_RUNNING
    return message
