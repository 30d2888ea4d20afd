"""The agent file of a command, with its options, environment, and interpreter."""

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from agent_tui.cli.output import REDACTOR
from agent_tui.model.errors import ExitCode, UserError
from agent_tui.model.events import StartMethod
from agent_tui.options.configfile import read_environment_and_config
from agent_tui.options.declare import BY_NAME
from agent_tui.options.envfiles import Environment
from agent_tui.options.resolve import SourcedValue, environment_layers
from agent_tui.reading import Pipes, describe, normalized, read_start
from agent_tui.runtimes import startup_hints
from agent_tui.runtimes.interpreter import Interpreter, find_interpreter
from agent_tui.runtimes.kinds import AGENTS_JS, JAVASCRIPT, KINDS, detect
from agent_tui.runtimes.node.blanks import blank_command
from agent_tui.runtimes.node.find import NodeInterpreter, find_node
from agent_tui.runtimes.spawn import HeadStart

if TYPE_CHECKING:
    from agent_tui.engine.config import RunConfig
    from agent_tui.settings.settings import Settings

CANDIDATES = (
    *("agent.py", "src/agent.py", "main.py", "src/main.py", "app.py"),
    *("agent.ts", "src/agent.ts", "agent.mts", "agent.js", "src/agent.js", "agent.mjs", "src/agent.mjs"),
    *("main.ts", "src/main.ts", "main.js", "src/main.js"),
)

MAX_SEARCHED = 2**20
"""Bytes of a file that are searched for an agent."""


def find_agent(
    agent: str | None,
    cwd: Path,
    environ: Mapping[str, str],
    config: Path | None = None,
    pipes: Pipes | None = None,
) -> tuple[Path, SourcedValue]:
    """Return the agent's file, and where its name comes from.

    The name comes from the command line, this folder's config file, or its environment. Otherwise `cwd` is
    searched for `CANDIDATES`. Raises UserError if there is no usable file; the message says what to type.
    """
    if agent is not None:
        path = _checked(agent, cwd, "")
        plain = os.path.normpath(agent)
        return path, SourcedValue(plain if cwd / plain == path else agent, BY_NAME["agent"].flag)
    environment = read_environment_and_config(cwd / CANDIDATES[0], cwd, environ, config, pipes)
    given = environment.config.get("agent")
    if given is not None and environment.config_file is not None:
        return _checked(str(given.raw), environment.config_file.absolute().parent, given.where), given
    given = environment_layers(environment.variables)[0].values.get("agent")
    if given is not None:
        return _checked(str(given.raw), cwd, given.where), given
    found = [name for name in CANDIDATES if os.path.isfile(cwd / name)]  # noqa: PTH113  pathlib raises for some
    if found:
        name = next((each for each in found if _may_define_agent(cwd / each)), found[0])
        return cwd / name, SourcedValue(name, "found in this folder")
    if environment.config_problem:
        raise UserError(environment.config_problem)
    names, example = ", ".join(CANDIDATES), "ts" if os.path.isfile(cwd / "package.json") else "py"  # noqa: PTH113
    raise UserError(
        f"no agent file in this folder (searched {names}); name it, as in agent-tui path/to/agent.{example}"
    )


def _may_define_agent(path: Path) -> bool:
    """Return whether a file may be an agent, and not only code that the agent imports."""
    if path.suffix == ".py":
        return True
    try:
        text = read_start(path, MAX_SEARCHED)
    except OSError:
        return False
    return any(word in text for word in (b"defineAgent", b"runApp"))


def _checked(agent: str, folder: Path, where: str) -> Path:
    path, named = folder / agent, f"{agent} ({where})" if where else agent
    if not agent:
        raise UserError("the agent file's name is empty; name it, as in agent-tui path/to/agent.py")
    if os.path.isdir(path):  # noqa: PTH112
        raise UserError(f"{named} is a folder; name the agent file in it, as in agent-tui {agent}/agent.py")
    if what := describe(path):
        raise UserError(f"{named} is {what}, not a regular file; name the agent file")
    if not os.path.isfile(path):  # noqa: PTH113
        raise UserError(f"no such file: {named}; name the agent file, as in agent-tui path/to/agent.py")
    if path.suffix != ".py" and path.suffix.lower() not in JAVASCRIPT:
        raise UserError(
            f"{named} is not an agent file; its name must end in .py, .js, .ts, or a related suffix"
        )
    return normalized(path)


MASKED = ("apiSecret", "workerToken")
"""Options whose values are always masked."""


@dataclass(frozen=True, slots=True)
class AgentProject:
    """One agent file. `flags` has the options of the command line, by name."""

    path: Path
    cwd: Path
    environ: Mapping[str, str]
    """The environment that this process started with."""
    flags: Mapping[str, SourcedValue]
    config_file: Path | None
    """The config file that `--config` names, or None."""
    python: str | None
    node: str | None
    environment: Environment
    """The agent's environment at the start."""
    pipes: Pipes
    """Reads the environment and config files that are FIFOs or sockets, and remembers their content."""
    mask_env: bool
    """Whether the values of secret variables of environment files are masked."""

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
        """Return the agent file and its environment. Raises UserError if there is no such file."""
        try:
            cwd = Path.cwd()
        except OSError as error:
            raise UserError(
                f"no working directory ({error.strerror}); change to a folder that exists"
            ) from None
        environ, pipes = dict(os.environ), Pipes()
        config_file = normalized(config_file) if config_file else None
        path, named = find_agent(agent, cwd, environ, config_file, pipes)
        environment = read_environment_and_config(path, cwd, environ, config_file, pipes)
        flags = {**flags, "agent": named}
        file = cls(path, cwd, environ, flags, config_file, python, node, environment, pipes, mask_env)
        file._mask(environment)
        return file

    def read_environment(self) -> Environment:
        """Read the environment for a reload. The first call reuses what FIFOs returned at the start."""
        try:
            environment = read_environment_and_config(
                self.path, self.cwd, self.environ, self.config_file, self.pipes
            )
        finally:
            self.pipes.renew()
        self._mask(environment)
        return environment

    def _mask(self, environment: Environment) -> None:
        """Mask the environment's secrets, before a message can quote one."""
        ordinary, _ = environment_layers(environment.variables)
        given = (ordinary.values, environment.config, self.flags)
        secrets = [str(values[name].raw) for values in given for name in MASKED if name in values]
        REDACTOR.mask((*secrets, *environment.secrets) if self.mask_env else secrets)

    def settings(self, *, local: bool = False) -> "Settings":
        """Return the settings without those in the agent's code. Raises UserError for a bad agent file."""
        from agent_tui.settings.settings import Settings, defaults_context

        return Settings(self.environment, self.flags, defaults_context(detect(self.path), local=local))

    def interpreter(self, runtime: str) -> Interpreter:
        """Return the interpreter that runs the file.

        Raises UserError if there is none, or if `--python` or `--node` does not fit the file's language.
        """
        is_js = runtime == AGENTS_JS
        if self.python if is_js else self.node:
            flag, needs, use = ("--python", "Node", "--node") if is_js else ("--node", "Python", "--python")
            text = (
                f"{flag}: {self.path.name} runs on {needs}; leave {flag} out, or name the {needs} with {use}"
            )
            raise UserError(text, ExitCode.USAGE)
        if is_js:
            return find_node(self.path, self.environment.plain, self.node)
        return find_interpreter(self.path, runtime, self.environment.plain, self.python)

    def run_config(self, start_method: StartMethod | None = None) -> "RunConfig":
        """Return the config of a run. Raises UserError if nothing can run the file.

        The caller must discard its `head_start`, a child that already imports the SDK.
        """
        from agent_tui.engine.config import RunConfig

        runtime = detect(self.path)
        starts = KINDS[runtime].starts
        if start_method is not None and start_method not in starts:
            text = f"--start-method: '{start_method}' does not work with {self.path.name} ({runtime})"
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
