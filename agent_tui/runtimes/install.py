"""Which command installs a package for an agent, according to the project's lock file and the interpreter."""

import os
from collections.abc import Sequence
from pathlib import Path

from agent_tui.files import shown_path

PYTHON = (
    ("uv.lock", "uv add"),
    ("poetry.lock", "poetry add"),
    ("pdm.lock", "pdm add"),
    ("Pipfile.lock", "pipenv install"),
)
NODE = (
    ("pnpm-lock.yaml", "pnpm add"),
    ("yarn.lock", "yarn add"),
    ("bun.lock", "bun add"),
    ("bun.lockb", "bun add"),
    ("package-lock.json", "npm install"),
    ("package.json", "npm install"),
)
"""The command by the file in the project's folder. The nearest folder that has one of these files decides."""


def install_command(agent: Path, packages: Sequence[str], python: Path | None, cwd: Path) -> str:
    """Return the command that installs packages for an agent's file, and the folder to run it in, as text.

    `python` is the interpreter that runs the file; None for a JavaScript or TypeScript file. Paths are shown
    relative to `cwd`.
    """
    names = " ".join(packages)
    for folder in agent.parents:
        for mark, command in PYTHON if python else NODE:
            # Another interpreter than the project's would not get what the project's tool installs.
            if (folder / mark).is_file() and (python is None or python.is_relative_to(folder)):
                return f"{command} {names}{_in(folder, cwd)}"
    if python is None:
        return f"npm install {names}{_in(agent.parent, cwd)}"
    shown = shown_path(python, os.environ, cwd)
    if _is_made_by_uv(python):
        return f"uv pip install --python {shown} {names}"
    return f"{shown} -m pip install {names}"


def _in(folder: Path, cwd: Path) -> str:
    return "" if folder == cwd else f" in {shown_path(folder, os.environ, cwd)}"


def _is_made_by_uv(python: Path) -> bool:
    """Return whether uv made the virtual environment of this interpreter, which then has no pip."""
    try:
        settings = (python.parent.parent / "pyvenv.cfg").read_text(errors="replace")
    except OSError:
        return False
    return any(line.partition("=")[0].strip() == "uv" for line in settings.splitlines())
