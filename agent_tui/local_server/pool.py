"""Which workers qualify for a job, and which of them is asked: pure rules over a small registry."""

import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, Final, Generic, Protocol, TypeVar

from livekit.protocol.agent import JobType

from agent_tui.model import capacity


def _float32(value: float) -> float:
    """Return a number as it is after transport as a 32-bit float, as a worker's load is."""
    rounded: float = struct.unpack("f", struct.pack("f", value))[0]
    return rounded


TARGET_LOAD: Final = _float32(capacity.TARGET_LOAD)
"""The server's `agents.target_load`; compared in 32 bits, so that a load of 0.7 is not below it."""


class ViolationError(Exception):
    """The worker broke the protocol: its connection is dropped without a message."""


@dataclass(frozen=True, slots=True)
class PoolKey:
    """What must match exactly between a job and a worker (worker-protocol §4, pool key)."""

    agent_name: str
    namespace: str
    job_type: int
    deployment: str

    @property
    def topic(self) -> tuple[str, int]:
        """The topic of offers for this key. Different keys can map to the same topic; `Pool.add` then rejects
        the later worker.
        """
        name = "_".join(part for part in (self.agent_name, self.namespace) if part)
        return (f"{name}_{self.deployment}" if self.deployment else name, self.job_type)

    def describe(self) -> str:
        """Return the key as text for users: `'x' (JT_ROOM, deployment 'blue')`."""
        extra = [JobType.Name(self.job_type)]
        extra += [f"namespace {self.namespace!r}"] if self.namespace else []
        extra += [f"deployment {self.deployment!r}"] if self.deployment else []
        return f"{self.agent_name!r} ({', '.join(extra)})"


def key_of(job: Any) -> PoolKey:
    """Return the key that a worker must have to be offered this `livekit.Job`."""
    return PoolKey(job.agent_name, job.namespace, job.type, job.deployment)


class Candidate(Protocol):
    """What selection needs to know about a worker."""

    @property
    def worker_id(self) -> str: ...
    @property
    def key(self) -> PoolKey: ...
    @property
    def available(self) -> bool: ...
    @property
    def load(self) -> float: ...


W = TypeVar("W", bound=Candidate)


class Pool(Generic[W]):
    """The registered workers, in the order of registration."""

    def __init__(self) -> None:
        self._workers: dict[str, W] = {}

    def __iter__(self) -> Iterator[W]:
        return iter(tuple(self._workers.values()))

    def __len__(self) -> int:
        return len(self._workers)

    def add(self, worker: W) -> None:
        """Add a worker. Raise `ViolationError` if a worker with another key already has its topic."""
        for other in self._workers.values():
            if other.key != worker.key and other.key.topic == worker.key.topic:
                raise ViolationError(
                    f"{worker.key.describe()} has the topic of {other.key.describe()}: {worker.key.topic[0]}"
                )
        self._workers[worker.worker_id] = worker

    def discard(self, worker_id: str) -> None:
        self._workers.pop(worker_id, None)

    def get(self, worker_id: str) -> W | None:
        return self._workers.get(worker_id)

    def of(self, key: PoolKey) -> tuple[W, ...]:
        return tuple(worker for worker in self._workers.values() if worker.key == key)


def gate_open(workers: Iterable[Candidate]) -> bool:
    """Return whether a job for these workers is offered at all (worker-protocol §6.1, gate 1).

    One available worker below the target load is enough, and opens the gate for all of them.
    """
    return sum(max(0.0, TARGET_LOAD - worker.load) for worker in workers if worker.available) > 0


def pick(workers: Sequence[W], rng: Random) -> W | None:
    """Return a random available worker, weighted by 1 − load; None if no weight is left (§6.1, gate 2)."""
    weights = {worker.worker_id: max(0.0, 1.0 - worker.load) for worker in workers if worker.available}
    total = sum(weights.values())
    if total <= 0:
        return None
    candidates = [worker for worker in workers if worker.worker_id in weights]
    rest = rng.random() * total
    for worker in candidates:
        rest -= weights[worker.worker_id]
        if rest <= 0 and weights[worker.worker_id] > 0:
            return worker
    return max(candidates, key=lambda worker: weights[worker.worker_id])  # only because of rounding
