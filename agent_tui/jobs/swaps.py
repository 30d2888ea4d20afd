"""Decides which code running jobs run: what a reload does with them, pins, and swaps on request.

A swap gives the open sessions of a job the code of another generation (docs/swap.md). The child swaps the
code (`child/python/lk_swap.py`), and `JobSessions` follows the swap's messages.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import PurePath

from agent_tui.jobs.manager import JobManager
from agent_tui.jobs.record import JobRecord
from agent_tui.model import events as ev
from agent_tui.model.errors import UserError
from agent_tui.model.session_events import ENVIRONMENT

Modules = Mapping[str, bytes]
"""The content of a generation's files, by absolute path."""

Variables = Mapping[str, str]
"""Environment variables, by name."""

PLACES = 3
"""Maximum number of changed places that a swap names."""


class JobSwaps:
    """Decides which code running jobs run. `JobManager` owns their records."""

    def __init__(
        self,
        jobs: JobManager,
        *,
        policy: Callable[[], ev.OnReload],
        agent: str,
        emit: Callable[[ev.Event], None],
    ) -> None:
        """`policy` returns the value of `onReload`; `agent` is the path of the agent's file."""
        self._jobs = jobs
        self._policy = policy
        self._agent = agent
        self._emit = emit
        self._current = 0
        self._modules: dict[int, Modules] = {}
        """The modules of the current generation, and of each earlier one that a process or session uses."""
        self._environments: dict[int, Variables] = {}
        """The variables of processes of the same generations."""

    def switched(self, generation: int, modules: Modules, environment: Variables, in_use: set[int]) -> None:
        """Apply `onReload` to all running jobs, except pinned ones and those of a test load.

        `environment` has the variables of new processes. `in_use` are the generations of all processes. Jobs
        of a test load keep the code that is being measured.
        """
        used = in_use | {record.sessions.generation for record in self._jobs.running}
        self._modules = {number: each for number, each in self._modules.items() if number in used}
        self._modules[generation] = modules
        self._environments = {number: each for number, each in self._environments.items() if number in used}
        self._environments[generation] = environment
        self._current = generation
        policy = self._policy()
        for record in self._jobs.records:
            if record.process is None or record.process.generation >= generation or record.pinned:
                continue
            if record.test is not None and record.test.test_load:
                continue
            if policy is ev.OnReload.SWAP:
                if not _why_not(record):
                    self._swap(record)
            elif policy is ev.OnReload.RESTART:
                self._jobs.restart(record.id, f"--on-reload restart: generation {generation} took over")
            elif policy is ev.OnReload.END:
                reason = f"--on-reload end: generation {generation} took over"
                self._jobs.end(record.id, ev.JobStatus.TERMINATED, reason)

    def pin(self, job_id: str, *, pinned: bool) -> str:
        """Pin a job to its current code, or unpin it. Raise UserError if no such job is running."""
        record = self._jobs.find(job_id)
        code = record.sessions.generation or record.generation
        if record.pinned != pinned:
            record.pinned = pinned
            if pinned:
                record.sessions.cancel_swap()
            self._emit(ev.JobPinned(record.id, record.room, code, pinned))
        if pinned:
            return f"job {job_id} is pinned to generation {code}: reloads do not change it"
        return f"job {job_id} is not pinned: the next reload applies to it"

    def swap(self, job_id: str) -> str:
        """Give the sessions of a job the current code, even if it is pinned.

        Raise UserError if they cannot be swapped. Return what happens, as text; the event `Swapped` follows.
        """
        record = self._jobs.find(job_id)
        why = _why_not(record)
        if why:
            raise UserError(f"job {job_id} cannot swap: {why}; restart it to run the current code")
        if record.sessions.are_all_on(self._current):
            raise UserError(f"job {job_id} already runs generation {self._current}")
        self._swap(record)
        return f"swapping job {job_id} to generation {self._current}"

    def _swap(self, record: JobRecord) -> None:
        assert record.process is not None
        now = self._modules[self._current]
        base = self._modules.get(record.process.generation, {})
        changed = {path: content for path, content in now.items() if base.get(path) != content}
        before = self._modules.get(record.sessions.generation, {})
        old, new = (self._environments.get(each, {}) for each in (record.process.generation, self._current))
        places = changed_places(before, now, self._agent)
        record.sessions.swap(self._current, changed, places, changed_variables(old, new))


def _why_not(record: JobRecord) -> str:
    """Return why the job's sessions cannot get new code; empty if they can."""
    if record.process is None or record.restarting is not None:
        return "its process is starting"
    if not record.process.can_swap:
        return "its process cannot swap code"
    return "" if record.sessions.are_open else "it has no open session"


def changed_variables(old: Variables, new: Variables) -> tuple[str, ...]:
    """Return the note that a process keeps its environment, `environment (A_KEY)`, if it differs."""
    names = sorted(name for name in {*old, *new} if old.get(name) != new.get(name))
    more = [f"{len(names) - PLACES} more"] if len(names) > PLACES else []
    return (f"{ENVIRONMENT} ({', '.join(names[:PLACES] + more)})",) if names else ()


def changed_places(before: Modules, now: Modules, agent: str) -> tuple[str, ...]:
    """Return the first changed line of each file that differs, as `agent.py:42`, the agent's file first."""
    folder = str(PurePath(agent).parent)
    paths = sorted({*before, *now}, key=lambda path: (path != agent, path))
    places = []
    for path in paths:
        old, new = before.get(path), now.get(path)
        if old == new:
            continue
        name = str(PurePath(path).relative_to(folder)) if PurePath(path).is_relative_to(folder) else path
        line = 0 if new is None else _first_change((old or b"").splitlines(), new.splitlines())
        places.append(f"{name}:{line}" if line else name)
    more = len(places) - PLACES
    return (*places[:PLACES], f"{more} more") if more > 0 else tuple(places)


def _first_change(old: Sequence[bytes], new: Sequence[bytes]) -> int:
    """Return the number of the first line of `new` that differs; 0 if it is empty."""
    same = next((at for at, (a, b) in enumerate(zip(old, new, strict=False)) if a != b), None)
    return min((min(len(old), len(new)) if same is None else same) + 1, len(new))
