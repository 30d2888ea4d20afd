"""A child without a process. Tests decide what it sends, and check what it receives."""

import asyncio
import itertools
from collections.abc import Callable

from agent_tui.model import child as ch
from tests.limits import PATIENCE_S

TRAITS = ch.ChildTraits(stacks=True, reports_loading=True)


class ScriptedChild:
    """Implements `Child`. `say()` queues a message to the host; `sent` are the messages from the host."""

    pids = itertools.count(50_000)

    def __init__(self, kind: ch.ProcessKind, process_id: str, traits: ch.ChildTraits = TRAITS) -> None:
        self.kind = kind
        self.process_id = process_id
        self.pid = next(self.pids)
        self.traits = traits
        self.sent: list[ch.ToChild] = []
        self.killed = False
        self.exit: asyncio.Future[ch.ChildExit] = asyncio.get_running_loop().create_future()
        self.answers: Callable[[ScriptedChild, ch.ToChild], None] = _obliging
        self._inbox: asyncio.Queue[ch.FromChild | None] = asyncio.Queue()

    def say(self, *messages: ch.FromChild) -> None:
        for message in messages:
            self._inbox.put_nowait(message)

    def end(self, exit_code: int | None = 0, signal: int | None = None) -> None:
        """End the process and its channel."""
        if not self.exit.done():
            self.exit.set_result(ch.ChildExit(exit_code, signal))
            self._inbox.put_nowait(None)

    def close_channel(self) -> None:
        """Close the channel; the process goes on."""
        self._inbox.put_nowait(None)

    def told(self, kind: type[object]) -> list[ch.ToChild]:
        return [message for message in self.sent if isinstance(message, kind)]

    # -- Child ----------------------------------------------------------------------------------------

    def send(self, message: ch.ToChild) -> None:
        if not self.exit.done():
            self.sent.append(message)
            self.answers(self, message)

    async def receive(self) -> ch.FromChild | None:
        return await self._inbox.get()

    def kill(self) -> None:
        self.killed = True
        self.end(None, 9)

    async def wait(self) -> ch.ChildExit:
        return await asyncio.shield(self.exit)


def _obliging(child: ScriptedChild, message: ch.ToChild) -> None:
    """Answer like a healthy child; used unless a test scripts something else."""
    match message:
        case ch.Ping(sent_ms=sent):
            child.say(ch.Pong(sent))
        case ch.Shutdown(reason=reason):
            child.say(ch.ShutdownAck(), ch.Exiting(reason), ch.ShuttingDown())
            child.end()


class Nursery:
    """Makes scripted children and keeps them. `prepare` scripts each one when it is made."""

    def __init__(self, prepare: Callable[[ScriptedChild], None] | None = None) -> None:
        self.children: list[ScriptedChild] = []
        self.prepare = prepare or (lambda child: child.say(ch.Loading(), ch.Ready()))

    async def __call__(self, kind: ch.ProcessKind, process_id: str) -> ScriptedChild:
        child = ScriptedChild(kind, process_id)
        self.children.append(child)
        self.prepare(child)
        return child


async def until(condition: Callable[[], object], limit_s: float = PATIENCE_S) -> None:
    """Let the event loop run until the condition holds. Fail the test after the limit."""
    async with asyncio.timeout(limit_s):
        while not condition():  # noqa: ASYNC110  what is waited for has no event of its own
            await asyncio.sleep(0.001)
