"""The configuration of a run: everything that does not change while it lasts."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from agent_tui.jobs.sessions import TURN_TIMEOUT_S
from agent_tui.logs.redactor import Redactor
from agent_tui.model.child import MemoryMeasure
from agent_tui.model.events import StartMethod
from agent_tui.options.envfiles import Environment
from agent_tui.options.resolve import SourcedValue
from agent_tui.runtimes.interpreter import Interpreter
from agent_tui.runtimes.spawn import HeadStart


@dataclass(frozen=True, slots=True)
class RunConfig:
    """One run of one agent file. `flags` are options by name."""

    agent: Path
    cwd: Path
    read_environment: Callable[[], Environment]
    """Reads environment files and the config file again, for each load."""
    runtime: str
    interpreter: Interpreter
    environment: Environment | None = None
    """The environment read at the start; None to call `read_environment`."""
    head_start: HeadStart | None = None
    """A child that is already importing the SDK; the first control process uses it."""
    flags: Mapping[str, SourcedValue] = field(default_factory=dict)
    local: bool = False
    watch: bool = True
    watch_globs: tuple[str, ...] = ()
    """More files whose saves reload the agent."""
    start_method: StartMethod | None = None
    """The value of `--start-method`; None to choose a method by what loading shows."""
    startup_hints: Path | None = None
    """The file that stores, for the next run, what was learned about the agent."""
    debug_port: int = 0
    """The loopback port on which each job waits for a debugger; 0 for none."""
    sessions: bool | None = None
    """Whether to follow the sessions of jobs. None means: unless the option `production` is set."""
    text_only: bool | None = None
    """Whether sessions run without audio. None means: if the server has no media."""
    turn_timeout_s: float = TURN_TIMEOUT_S
    """How long a typed turn may take, in seconds."""
    watchdogs: bool = True
    """Whether to end processes that stop responding or load for too long."""
    memory_measure: MemoryMeasure | None = None
    """Which figure counts as memory used; None for the one that the agent's SDK uses."""
    job_length_s: float | None = None
    """The time limit of test jobs, in seconds; None for no limit."""
    unattended_job_length_s: float | None = None
    """The time limit of test jobs on a server without media, where no room closes that would end them."""
    redactor: Redactor = field(default_factory=Redactor)
    """Masks the secrets known so far; the engine adds those of the server."""
