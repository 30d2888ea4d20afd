"""Which file is the agent's."""

import os
from collections.abc import Mapping
from pathlib import Path

from agent_tui.model.errors import UserError
from agent_tui.options.configfile import read_surroundings
from agent_tui.options.declare import BY_NAME
from agent_tui.options.resolve import Given, environment_layers
from agent_tui.reading import Pipes, describe, normalized
from agent_tui.runtimes.detect import JAVASCRIPT

CANDIDATES = ("agent.py", "src/agent.py", "main.py", "src/main.py", "app.py")


def find_agent(
    agent: str | None,
    cwd: Path,
    environ: Mapping[str, str],
    config: Path | None = None,
    pipes: Pipes | None = None,
) -> tuple[Path, Given]:
    """The agent's file, and where it was named: on the command line, else in this folder's config file or
    environment, else by its usual name. Raises UserError with what to type.
    """
    if agent is not None:
        path = _checked(agent, cwd, "")
        plain = os.path.normpath(agent)
        return path, Given(plain if cwd / plain == path else agent, BY_NAME["agent"].flag)
    surroundings = read_surroundings(cwd / CANDIDATES[0], cwd, environ, config, pipes)
    given = surroundings.config.get("agent")
    if given is not None and surroundings.config_file is not None:
        return _checked(str(given.raw), surroundings.config_file.absolute().parent, given.where), given
    given = environment_layers(surroundings.variables)[0].values.get("agent")
    if given is not None:
        return _checked(str(given.raw), cwd, given.where), given
    for name in CANDIDATES:
        if os.path.isfile(cwd / name):  # noqa: PTH113  pathlib raises for some
            return cwd / name, Given(name, "found in this folder")
    if surroundings.config_problem:
        raise UserError(surroundings.config_problem)
    names = ", ".join(CANDIDATES)
    raise UserError(f"no agent file here (looked for {names}): name it, as in agent-tui path/to/agent.py")


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
    if path.suffix != ".py" and path.suffix.lower() not in JAVASCRIPT:  # of which `detect` says more
        raise UserError(f"{named} is not an agent's file: its name should end in .py")
    return normalized(path)
