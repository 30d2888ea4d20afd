"""Open a file at a line in the user's editor."""

import asyncio
import os
import shlex
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from textual.app import App

from agent_tui.model.errors import UserError

_AT_LINE = {"code": ("--goto", "{file}:{line}"), "subl": ("{file}:{line}",), "zed": ("{file}:{line}",)}
"""The arguments of editors that do not accept `+LINE FILE`."""

_FALLBACKS = ("vi", "nano")

_GROUP = "editor"

_IN_WINDOW = frozenset({"code", "subl", "zed", "gvim"})
"""Editors that open their own window, so the screen is not suspended."""


def editor_command(editor: str, file: Path, line: int) -> list[str]:
    """Return the command that opens the file at the line. Raise ValueError if a quote is not closed."""
    words = shlex.split(editor)
    form = _AT_LINE.get(Path(words[0]).name, ("+{line}", "{file}"))
    return [*words, *(part.format(file=file, line=line) for part in form)]


def find_editor(environ: Mapping[str, str]) -> str | None:
    """Return the user's editor: $VISUAL, $EDITOR, or the first of vi and nano that is installed."""
    named = environ.get("VISUAL", "").strip() or environ.get("EDITOR", "").strip()
    return named or next((name for name in _FALLBACKS if shutil.which(name, path=environ.get("PATH"))), None)


def open_in_editor(app: App[Any], file: Path, line: int) -> None:
    """Open the file in the user's editor. Raise UserError if there is no editor or it fails to start.

    An editor that runs in the terminal suspends the screen; the engine keeps running.
    """
    editor = find_editor(os.environ)
    if not editor:
        raise UserError(
            f"no editor found ({', '.join(_FALLBACKS)}): set VISUAL or EDITOR to open {file.name}:{line}"
        )
    try:
        command = editor_command(editor, file, line)
    except ValueError as error:
        raise UserError(f"editor {editor!r} is not a command ({error}): set VISUAL or EDITOR") from None
    if is_open(app):
        raise UserError("an editor is already open")
    if Path(command[0]).name not in _IN_WINDOW:
        app.run_worker(_edit(app, command), group=_GROUP)
        return
    try:
        subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)
    except OSError as error:
        raise UserError(_not_started(command, error)) from None


def is_open(app: App[Any]) -> bool:
    """Return whether an editor is using the terminal."""
    return any(worker.group == _GROUP and worker.is_running for worker in app.workers)


async def _edit(app: App[Any], command: list[str]) -> None:
    """Give the terminal to the editor until it exits. The event loop keeps running and serves the worker."""
    problem = ""
    with app.suspend():  # an exception in here would leave the screen suspended
        try:
            process = await asyncio.create_subprocess_exec(*command)
        except OSError as error:
            problem = _not_started(command, error)
        else:
            try:
                await process.wait()
            finally:
                if process.returncode is None:  # agent-tui exits and gives the terminal back to the shell
                    process.terminate()
    if problem:
        app.notify(problem, severity="error", markup=False)


def _not_started(command: list[str], error: OSError) -> str:
    return f"{command[0]} failed to start: {error.strerror}; set VISUAL or EDITOR to another editor"
