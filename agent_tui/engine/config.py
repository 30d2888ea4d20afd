"""What a run was asked to be: everything that does not change while it lasts."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from agent_tui.logs.redactor import Redactor
from agent_tui.model.child import MemoryMeasure
from agent_tui.model.events import OnReload, StartMethod
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
    """Reads environment files and config file again, for each load."""
    runtime: str
    interpreter: Interpreter
    environment: Environment | None = None
    """As it was read at the start; None: `read_environment` is asked."""
    head_start: HeadStart | None = None
    """A child that already imports the SDK; the first control process takes it over."""
    flags: Mapping[str, SourcedValue] = field(default_factory=dict)
    local: bool = False
    watch: bool = True
    watch_globs: tuple[str, ...] = ()
    """Further files whose saves load the agent anew."""
    on_reload: OnReload = OnReload.KEEP
    start_method: StartMethod | None = None
    """None: chosen by looking."""
    startup_hints: Path | None = None
    """Where what was found out about the agent is kept for the next run."""
    debug_port: int = 0
    """On loopback, where each job waits for a debugger; 0 for none."""
    watchdogs: bool = True
    """Whether processes are ended that are silent or load for too long."""
    memory_measure: MemoryMeasure | None = None
    """What counts as memory used; None: as the SDK of the agent's file counts."""
    job_length_s: float | None = None
    """Ends test jobs that go on for longer."""
    unattended_job_length_s: float | None = None
    """The same where nothing else would ever end them: on a server without media no room closes."""
    redactor: Redactor = field(default_factory=Redactor)
    """Masks the secrets that are known so far; the engine adds those of the server."""
