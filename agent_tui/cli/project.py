"""The agent file that a command is about, with all that its line and its surroundings say of it."""

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from agent_tui.cli.output import REDACTOR
from agent_tui.model.errors import ExitCode, UserError
from agent_tui.model.events import StartMethod
from agent_tui.options.configfile import read_surroundings
from agent_tui.options.declare import DefaultsContext
from agent_tui.options.envfiles import Environment
from agent_tui.options.resolve import SourcedValue, environment_layers
from agent_tui.reading import Pipes, normalized, read_start
from agent_tui.runtimes import startup_hints
from agent_tui.runtimes.interpreter import Interpreter, find_interpreter
from agent_tui.runtimes.kinds import AGENTS_JS, JAVASCRIPT, KINDS, detect
from agent_tui.runtimes.node.blanks import blank_command
from agent_tui.runtimes.node.find import NodeInterpreter, find_node
from agent_tui.runtimes.spawn import HeadStart

if TYPE_CHECKING:
    from agent_tui.engine.config import RunConfig
    from agent_tui.settings.settings import Settings

from agent_tui.options.declare import BY_NAME
from agent_tui.reading import describe

CANDIDATES = (
    *("agent.py", "src/agent.py", "main.py", "src/main.py", "app.py"),
    *("agent.ts", "src/agent.ts", "agent.mts", "agent.js", "src/agent.js", "agent.mjs", "src/agent.mjs"),
    *("main.ts", "src/main.ts", "main.js", "src/main.js"),
)

MOST_SEARCHED = 2**20
"""Bytes of a file that are searched for an agent."""


def find_agent(
    agent: str | None,
    cwd: Path,
    environ: Mapping[str, str],
    config: Path | None = None,
    pipes: Pipes | None = None,
) -> tuple[Path, SourcedValue]:
    """The agent's file, and where it was named: on the command line, else in this folder's config file or
    environment, else by its usual name. Raises UserError with what to type.
    """
    if agent is not None:
        path = _checked(agent, cwd, "")
        plain = os.path.normpath(agent)
        return path, SourcedValue(plain if cwd / plain == path else agent, BY_NAME["agent"].flag)
    surroundings = read_surroundings(cwd / CANDIDATES[0], cwd, environ, config, pipes)
    given = surroundings.config.get("agent")
    if given is not None and surroundings.config_file is not None:
        return _checked(str(given.raw), surroundings.config_file.absolute().parent, given.where), given
    given = environment_layers(surroundings.variables)[0].values.get("agent")
    if given is not None:
        return _checked(str(given.raw), cwd, given.where), given
    found = [name for name in CANDIDATES if os.path.isfile(cwd / name)]  # noqa: PTH113  pathlib raises for some
    if found:
        name = next((each for each in found if _may_define_agent(cwd / each)), found[0])
        return cwd / name, SourcedValue(name, "found in this folder")
    if surroundings.config_problem:
        raise UserError(surroundings.config_problem)
    names, example = ", ".join(CANDIDATES), "ts" if os.path.isfile(cwd / "package.json") else "py"  # noqa: PTH113
    raise UserError(
        f"no agent file here (searched {names}): name it, as in agent-tui path/to/agent.{example}"
    )


def _may_define_agent(path: Path) -> bool:
    """Return whether a JavaScript file is more than a part of an agent: main.ts may be the agent's file, and
    agent.ts a class that it imports.
    """
    if path.suffix == ".py":
        return True
    try:
        text = read_start(path, MOST_SEARCHED)
    except OSError:
        return False
    return any(word in text for word in (b"defineAgent", b"runApp"))


def _checked(agent: str, folder: Path, where: str) -> Path:
    path, named = folder / agent, f"{agent} ({where})" if where else agent
    if not agent:
        raise UserError("the agent's file has an empty name: name it, as in agent-tui path/to/agent.py")
    if os.path.isdir(path):  # noqa: PTH112
        raise UserError(f"{named} is a folder: name the agent's file in it, as in agent-tui {agent}/agent.py")
    if what := describe(path):
        raise UserError(f"{named} is {what}, not a regular file: name the agent's file")
    if not os.path.isfile(path):  # noqa: PTH113
        raise UserError(f"there is no file {named}: name the agent's file, as in agent-tui path/to/agent.py")
    if path.suffix != ".py" and path.suffix.lower() not in JAVASCRIPT:
        raise UserError(f"{named} is not an agent's file: its name should end in .py, .js, .ts or the like")
    return normalized(path)


MASKED = ("apiSecret", "workerToken")
"""Options whose values are masked whatever names them."""


@dataclass(frozen=True, slots=True)
class AgentProject:
    """One agent file. `flags` are options by name."""

    path: Path
    cwd: Path
    environ: Mapping[str, str]
    """Of this process, as it began."""
    flags: Mapping[str, SourcedValue]
    config_file: Path | None
    """Only if one was named."""
    python: str | None
    node: str | None
    environment: Environment
    """Of the agent, as it was at the start."""
    pipes: Pipes
    """What FIFOs and sockets among its files gave."""
    mask_env: bool
    """Whether values of environment files whose names say secret are masked wherever they would be shown."""

    @classmethod
    def find(
        cls,
        agent: str | None,
        flags: Mapping[str, SourcedValue],
        config_file: Path | None,
        python: str | None,
        node: str | None = None,
        *,
        mask_env: bool = True,
    ) -> "AgentProject":
        """Raises UserError when there is no such file, or what surrounds it cannot be read."""
        try:
            cwd = Path.cwd()
        except OSError as error:
            raise UserError(f"no working folder ({error.strerror}): change to one that exists") from None
        environ, pipes = dict(os.environ), Pipes()
        config_file = normalized(config_file) if config_file else None
        path, named = find_agent(agent, cwd, environ, config_file, pipes)
        environment = read_surroundings(path, cwd, environ, config_file, pipes)
        flags = {**flags, "agent": named}
        file = cls(path, cwd, environ, flags, config_file, python, node, environment, pipes, mask_env)
        file._mask(environment)
        return file

    def read_environment(self) -> Environment:
        """Read it for a load. The first one gets what FIFOs gave at the start: they may give it only once."""
        try:
            environment = read_surroundings(self.path, self.cwd, self.environ, self.config_file, self.pipes)
        finally:
            self.pipes.renew()
        self._mask(environment)
        return environment

    def _mask(self, environment: Environment) -> None:
        """Before anything is said of it: what is refused is quoted."""
        ordinary, _ = environment_layers(environment.variables)
        given = (ordinary.values, environment.config, self.flags)
        secrets = [str(values[name].raw) for values in given for name in MASKED if name in values]
        REDACTOR.mask((*secrets, *environment.secrets) if self.mask_env else secrets)

    def settings(self) -> "Settings":
        """The options in force, but for what its code sets. Raises UserError for what is no agent file."""
        from agent_tui.settings.settings import Settings, available_cores

        return Settings(
            self.environment, self.flags, DefaultsContext(detect(self.path), cores=available_cores())
        )

    def interpreter(self, runtime: str) -> Interpreter:
        """Raises UserError when none can run it, or a flag names one of another language."""
        is_js = runtime == AGENTS_JS
        if self.python if is_js else self.node:
            flag, needs, use = ("--python", "Node", "--node") if is_js else ("--node", "Python", "--python")
            text = f"{flag}: {self.path.name} runs on {needs}; leave it out, or name the {needs} with {use}"
            raise UserError(text, ExitCode.USAGE)
        if is_js:
            return find_node(self.path, self.environment.plain, self.node)
        return find_interpreter(self.path, runtime, self.environment.plain, self.python)

    def run_config(self, start_method: StartMethod | None = None) -> "RunConfig":
        """A usual run of it. Its `head_start` imports the SDK already: discard it at the end.

        Raises UserError for what cannot run it.
        """
        from agent_tui.engine.config import RunConfig

        runtime = detect(self.path)
        starts = KINDS[runtime].starts
        if start_method is not None and start_method not in starts:
            text = f"--start-method: '{start_method}' is not for {self.path.name} ({runtime})"
            raise UserError(f"{text}; give one of auto, {', '.join(starts)}", ExitCode.USAGE)
        interpreter = self.interpreter(runtime)
        hints = startup_hints.hints_path(self.environ, interpreter.path, self.path)
        imports = startup_hints.load_hints(hints).imports if hints else ()
        environ = self.environment.plain
        if isinstance(interpreter, NodeInterpreter):
            head_start = HeadStart(blank_command(interpreter, self.cwd, environ, imports))
        else:
            head_start = HeadStart.of_python(runtime, interpreter.path, self.cwd, environ, imports)
        if hints:
            startup_hints.forget_unseen(hints, time.time())
        return RunConfig(
            agent=self.path,
            cwd=self.cwd,
            read_environment=self.read_environment,
            environment=self.environment,
            runtime=runtime,
            interpreter=interpreter,
            head_start=head_start,
            flags=self.flags,
            startup_hints=hints,
            start_method=start_method,
            redactor=REDACTOR,
        )
