"""`agent-tui demo`: copy the bundled example into a new folder, and host it on the embedded server."""

import copy
import errno
import os
import sys
from importlib import resources
from pathlib import Path
from typing import Any

import click

from agent_tui.cli.help import CONTEXT, SectionedCommand
from agent_tui.cli.run import run
from agent_tui.model.errors import UserError

SOURCE = "demo_agent.txt"
"""The example's file in this package: a link to examples/native_agent.py in a checkout, a copy in a wheel."""

FOLDER = "agent-tui-demo"
AGENT = "agent.py"
CONFIG = "agent-tui.toml"
CONFIG_TEXT = """\
# Options of this agent, such as numIdleProcesses = 2 or logLevel = "debug".
# `agent-tui options` lists them, E on the screen edits them.
"""
"""The demo's config file. Without one, the demo would use, and edit, that of a project around its folder."""


def _run_demo(folder: Path | None, **flags: Any) -> int:
    """Copy a bundled example into FOLDER or a new folder, and host it.

    Never overwrites a file. Accepts all options of `agent-tui AGENT`. By default it uses the embedded server
    and the Python that runs agent-tui, and starts one test job.
    """
    agent = create(Path(), folder)
    # On stderr, because stdout is data with --json. A terminal shows the line again after the screen closes.
    line = f"created {agent}; to run it again: agent-tui {agent} --local"
    print(f"agent-tui: {line}", file=sys.stderr, flush=True)
    flags["python"] = flags["python"] or sys.executable
    flags["local"] = flags["local"] or flags["ws_url"] is None
    code: int = run.callback(agent=str(agent), **flags)  # type: ignore[misc]
    return code


def create(cwd: Path, folder: Path | None) -> Path:
    """Write the example and a config file into a folder, and return the path of the example.

    Without `folder`, create one in `cwd`. Raises UserError if a file exists already, or the folder cannot be
    written.
    """
    try:
        if folder is None:
            folder = _new_folder(cwd)
        else:
            (cwd / folder).mkdir(parents=True, exist_ok=True)
        files = ((AGENT, source()), (CONFIG, CONFIG_TEXT))
        if existing := next((name for name, _ in files if os.path.lexists(cwd / folder / name)), None):
            raise FileExistsError(errno.EEXIST, "File exists", folder / existing)
        for name, text in files:
            with (cwd / folder / name).open("x", encoding="utf-8") as stream:
                stream.write(text)
    except OSError as error:
        where, advice = error.filename or folder, "name another folder: agent-tui demo FOLDER"
        if isinstance(error, FileExistsError):
            raise UserError(f"{where} already exists and is not overwritten; {advice}") from None
        raise UserError(f"cannot write {where} ({error.strerror}); {advice}") from None
    return folder / AGENT


def source() -> str:
    """Return the text of the bundled example."""
    return (resources.files("agent_tui.cli") / SOURCE).read_text(encoding="utf-8")


def _new_folder(cwd: Path) -> Path:
    number = 1
    while True:
        folder = Path(FOLDER if number == 1 else f"{FOLDER}-{number}")
        try:
            (cwd / folder).mkdir()
        except FileExistsError:
            number += 1
        else:
            return folder


def _parameters() -> list[click.Parameter]:
    """Return the parameters of `agent-tui AGENT`, with a folder instead of the agent, and one test job."""
    folder = click.Argument(["folder"], required=False, type=click.Path(path_type=Path))
    flags = [copy.copy(each) for each in run.params if each.name != "agent"]
    for each in flags:
        if each.name == "dispatch":
            each.default = "1"
    return [folder, *flags]


demo = SectionedCommand(
    "demo",
    context_settings=CONTEXT,
    params=_parameters(),
    callback=_run_demo,
    help=_run_demo.__doc__,
)
