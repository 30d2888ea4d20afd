"""Blank processes: Node with the SDK loaded, started ahead, which get the agent's file late.

Node cannot fork, and importing the SDK takes most of a second of processor time (conversation.md §6): a blank
that is in stock runs a saved file some milliseconds later.
"""

import asyncio
import contextlib
import itertools
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import agent_tui
from agent_tui.model.child import ProcessKind
from agent_tui.model.clock import Clock
from agent_tui.model.errors import UserError
from agent_tui.model.events import EndedBy, Event, ProcessChanged, ProcessState, StartMethod
from agent_tui.model.logs import LogSink
from agent_tui.runtimes.node.find import NodeInterpreter, find_package
from agent_tui.runtimes.node.pino import parse
from agent_tui.runtimes.spawn import Command, SpawnedProcess, Started, start, system_pidfd_open

CHILD = Path(agent_tui.__file__).parent / "child" / "node"

STOCK = 2
"""A load takes two: one checks the file, the other becomes the first warm job process."""

STOCK_WHILE_BUSY = 3
OFTEN_S = 10.0
"""Two loads within this time say that saves are frequent."""

REFILL_AFTER_S = 0.1
"""What was just started from the stock must not share the processor with its replacement."""

MOST_DEATHS = 3
"""Blanks that ended by themselves in a row; then none is started ahead until one is asked for."""

_READ_BY_NODE = ("NODE_", "LD_", "SSL_", "TZ", "LANG", "LC_", "UV_", "OPENSSL_", "TSX_", "ESBUILD_")
"""Prefixes of variables that matter before a blank gets the agent's own environment."""


def blank_command(
    node: NodeInterpreter, cwd: Path, environ: Mapping[str, str], preload: Sequence[str] = ()
) -> Command:
    """Return how a blank is started."""
    main = "main.mjs" if node.is_esm else "main.cjs"
    config = {
        "sdk": str(node.package),
        "version": node.sdk_version,
        "tsx": str(node.tsx) if node.tsx else "",
        "typescript": node.typescript,
        "esm": node.is_esm,
        "preload": list(preload),
    }
    arguments = [str(node.path), *node.flags, str(CHILD / main), json.dumps(config)]
    return Command(arguments, cwd, environ, fd_variable="NODE_CHANNEL_FD")


class Blank:
    """One blank, from its start until it is taken or ends."""

    def __init__(self, number: int, started: Started, environ: Mapping[str, str]) -> None:
        self.id = f"k{number}"
        self.environ = environ
        self.started = started
        self.process = SpawnedProcess(started, system_pidfd_open())
        self.is_ready = False

    def fits(self, environ: Mapping[str, str]) -> bool:
        """Return whether Node itself would have read the same from this environment."""
        names = {*self.environ, *environ}
        return all(
            self.environ.get(name) == environ.get(name) for name in names if name.startswith(_READ_BY_NODE)
        )


class Blanks:
    """Keeps a stock of blanks for one project."""

    def __init__(
        self,
        node: NodeInterpreter,
        file: Path,
        cwd: Path,
        sink: LogSink,
        clock: Clock,
        emit: Callable[[Event], None],
        *,
        cores: int = 2,
        ahead: bool = True,
        first: Started | None = None,
        first_environ: Mapping[str, str] | None = None,
    ) -> None:
        """`first` is a blank that was started already, in `first_environ`. Without `ahead` no other is
        started before it is asked for.
        """
        self.method = StartMethod.BLANK if ahead else StartMethod.SPAWN
        self._node = node
        self._file = file.resolve()
        self._stamps = self._stamps_now()
        self._cwd = cwd
        self._sink = sink
        self._clock = clock
        self._emit = emit
        self._cores = cores
        self._numbers = itertools.count(1)
        self._stock: list[Blank] = []
        self._starting: set[int] = set()
        """Pids of processes that still import the SDK, those that were taken meanwhile included."""
        self._preload: tuple[str, ...] = ()
        self._environ: Mapping[str, str] = first_environ or {}
        self._loads = (-OFTEN_S, -2 * OFTEN_S)
        """When the last two loads took a blank, monotonic."""
        self._deaths = 0
        self._tasks: set[asyncio.Task[None]] = set()
        self._refill: asyncio.TimerHandle | None = None
        self._closing = False
        if first is not None:
            self._add(first, self._environ)

    @property
    def stock(self) -> tuple[Blank, ...]:
        return tuple(self._stock)

    def take(self, environ: Mapping[str, str], kind: ProcessKind, process_id: str) -> SpawnedProcess:
        """Return a process for that environment: the one of the stock that is farthest, else a new one.

        Its output goes to the log under `process_id` from here on. Raise OSError.
        """
        now = self._clock.monotonic()
        if kind is ProcessKind.CONTROL:
            self._loads = (now, self._loads[0])
        self._discard_if_changed()
        for each in [each for each in self._stock if not each.fits(environ)]:
            self._end(each, "Node's own environment changed")
        self._environ = environ
        blank = next((each for each in self._stock if each.is_ready), None)
        if blank is None and self._stock:
            blank = self._stock[0]
        if blank is None:
            started = start(blank_command(self._node, self._cwd, environ, self._preload))
            blank = Blank(next(self._numbers), started, environ)
            self._follow(blank)
        else:
            self._stock.remove(blank)
            self._tell(blank, ProcessState.ENDED, f"became {process_id}")
        self._deaths = 0
        blank.started.ends.attach(process_id, self._sink, parse)
        self._stop_reading(blank)
        self._refill_later()
        return blank.process

    def _discard_if_changed(self) -> None:
        """End the stock if what it was made of changed on disk: the SDK, package.json, tsconfig.json."""
        stamps = self._stamps_now()
        if stamps == self._stamps:
            return
        self._stamps = stamps
        with contextlib.suppress(UserError):  # which the load says
            package, version = find_package(self._file)
            self._node = replace(self._node, package=package, sdk_version=version)
        for each in tuple(self._stock):
            self._end(each, "the project's packages changed")

    def _stamps_now(self) -> tuple[int, ...]:
        folders = [each for each in self._file.parents if (each / "package.json").exists()][:2]
        names = [each / name for each in folders for name in ("package.json", "tsconfig.json")]
        return tuple(_changed_at(each) for each in (self._node.package / "package.json", *names))

    def learn(self, packages: Sequence[str]) -> None:
        """Preload what the project's code imports of others in the blanks to come."""
        self._preload = tuple(packages)

    def discard(self, why: str) -> None:
        """End the stock: what it was made of changed."""
        for each in tuple(self._stock):
            self._end(each, why)
        self._refill_later()

    def started(self, pid: int) -> None:
        """A process that was taken while it imported the SDK has done so, or has ended."""
        self._starting.discard(pid)
        self._refill_later()

    def kill(self, reason: str) -> None:
        """End the stock now; no other blank is started."""
        self._closing = True
        if self._refill is not None:
            self._refill.cancel()
        for each in tuple(self._stock):
            self._end(each, reason)

    async def close(self, reason: str) -> None:
        """End the stock, and wait until it is reaped."""
        self.kill(reason)
        while self._tasks:
            await asyncio.gather(*self._tasks, return_exceptions=True)

    # -- the stock ------------------------------------------------------------------------------------

    @property
    def _target(self) -> int:
        if self.method is not StartMethod.BLANK:
            return 0
        often = self._loads[0] - self._loads[1] < OFTEN_S
        recently = self._clock.monotonic() - self._loads[0] < 2 * OFTEN_S
        return STOCK_WHILE_BUSY if often and recently else STOCK

    def _refill_later(self) -> None:
        if self._refill is None and not self._closing:
            self._refill = asyncio.get_running_loop().call_later(REFILL_AFTER_S, self._fill)

    def _fill(self) -> None:
        self._refill = None
        if self._closing or self._deaths >= MOST_DEATHS:
            return
        while len(self._stock) > self._target:
            self._end(self._stock[-1], "more blanks than needed")
        # One at a time, and only while cores are free: jobs that start must not wait for it.
        while len(self._stock) < self._target and len(self._starting) < self._cores:
            with contextlib.suppress(OSError):
                command = blank_command(self._node, self._cwd, self._environ, self._preload)
                self._add(start(command), self._environ)
                continue
            return

    def _add(self, started: Started, environ: Mapping[str, str]) -> None:
        blank = Blank(next(self._numbers), started, environ)
        self._stock.append(blank)
        self._tell(blank, ProcessState.STARTING)
        self._follow(blank)

    def _follow(self, blank: Blank) -> None:
        self._starting.add(blank.process.pid)
        blank.process.sock.setblocking(False)
        asyncio.get_running_loop().add_reader(blank.process.sock, self._readable, blank)

    def _stop_reading(self, blank: Blank) -> None:
        asyncio.get_running_loop().remove_reader(blank.process.sock)

    def _readable(self, blank: Blank) -> None:
        """It says one line, `blank_ready`, or it ended."""
        try:
            data = blank.process.sock.recv(65_536)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        self._starting.discard(blank.process.pid)
        if data:
            blank.is_ready = True
            self._tell(blank, ProcessState.IDLE)
            self._refill_later()
        else:
            self._deaths += 1
            self._end(blank, "it ended by itself")
            self._refill_later()

    def _end(self, blank: Blank, reason: str) -> None:
        if blank not in self._stock:
            return
        self._stock.remove(blank)
        self._starting.discard(blank.process.pid)
        self._stop_reading(blank)
        blank.process.kill()
        task = asyncio.create_task(self._reap(blank, reason), name=f"blank {blank.id}")
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _reap(self, blank: Blank, reason: str) -> None:
        blank.started.ends.attach(blank.id, self._sink)  # what it said says why it ended
        exit = await blank.process.wait()
        blank.process.sock.close()
        self._tell(blank, ProcessState.ENDED, reason, exit.exit_code, exit.signal)

    def _tell(
        self,
        blank: Blank,
        state: ProcessState,
        reason: str = "",
        exit_code: int | None = None,
        signal: int | None = None,
    ) -> None:
        by = EndedBy.ORDER if state is ProcessState.ENDED else None
        self._emit(
            ProcessChanged(
                blank.id,
                blank.process.pid,
                ProcessKind.BLANK,
                state,
                0,
                None,
                reason,
                exit_code,
                signal,
                *(() if by is None else (by,)),
            )
        )


def _changed_at(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0
