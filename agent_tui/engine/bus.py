"""The event stream: each reader gets the current state, and every event after it. No reader can block it."""

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

from agent_tui.model.clock import Clock
from agent_tui.model.events import Event, Stamped
from agent_tui.model.reduce import reduce
from agent_tui.model.state import AppState

LIMIT = 10_000


class LaggedError(Exception):
    """A reader fell too far behind. Subscribe again to get a new snapshot."""


@dataclass(eq=False)
class Subscription:
    """One reader's place in the stream.

    `state` is the state after the last batch that was read. Before the first batch, it is the state at the
    time of the subscription.
    """

    bus: "Bus"
    state: AppState
    limit: int

    def __post_init__(self) -> None:
        self._waiting: list[Stamped] = []
        self._news = asyncio.Event()
        self._lagged = False
        self._closed = False

    def offer(self, stamped: Stamped) -> None:
        if len(self._waiting) >= self.limit:
            self._lagged = True
            self._waiting.clear()
            self.close()
        elif not self._closed:
            self._waiting.append(stamped)
            self._news.set()

    def close(self) -> None:
        """End the stream after the events that are already queued."""
        self._closed = True
        self.bus.forget(self)
        self._news.set()

    async def batches(self) -> AsyncIterator[list[Stamped]]:
        """Yield events in batches, in order. Raise LaggedError if more than `limit` events were unread."""
        try:
            while True:
                await self._news.wait()
                self._news.clear()
                if self._lagged:
                    raise LaggedError(f"more than {self.limit} unread events")
                batch, self._waiting = self._waiting, []
                self.state = self.bus.state  # each event was reduced before it was queued
                if batch:
                    yield batch
                if self._closed and not self._waiting and not self._lagged:
                    return
        finally:
            self.close()


class Bus:
    """Stamps events, keeps the state that they reduce to, and queues them for every subscription."""

    def __init__(
        self,
        clock: Clock,
        clean: Callable[[Event], Event] = lambda event: event,
        log: Callable[[Event], None] = lambda event: None,
    ) -> None:
        """`clean` makes all texts of an event safe to show. `log` gets each cleaned event first."""
        self._clock = clock
        self._clean = clean
        self._log = log
        self._seq = 0
        self._subscriptions: set[Subscription] = set()
        self._closed = asyncio.Event()
        self.state = AppState()
        """The state after all events so far. Events are reduced here and nowhere else in this process."""

    def publish(self, event: Event) -> None:
        """Add an event to the stream."""
        self._seq += 1
        stamped = Stamped(self._seq, self._clock.time(), self._clean(event))
        self._log(stamped.event)
        self.state = reduce(self.state, stamped)
        for subscription in tuple(self._subscriptions):
            subscription.offer(stamped)

    def subscribe(self, limit: int = LIMIT) -> Subscription:
        """Return the state and the stream after it. No event is lost between them, since nothing is
        awaited.
        """
        subscription = Subscription(self, self.state, limit)
        self._subscriptions.add(subscription)
        return subscription

    def forget(self, subscription: Subscription) -> None:
        self._subscriptions.discard(subscription)

    def close(self) -> None:
        """End every subscription's stream after the last event."""
        self._closed.set()
        for subscription in tuple(self._subscriptions):
            subscription.close()

    async def closed(self) -> None:
        """Wait until the stream has ended."""
        await self._closed.wait()
