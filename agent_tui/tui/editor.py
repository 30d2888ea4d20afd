"""Opening a file at a line in the user's editor."""

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
"""Editors that do not take `+LINE FILE`."""

_USUAL = ("vi", "nano")

_IN_WINDOW = frozenset({"code", "subl", "zed", "gvim"})
"""Editors that open a window of their own: the screen stays."""


def editor_command(editor: str, file: Path, line: int) -> list[str]:
    """The command that opens the file at the line."""
    words = shlex.split(editor)
    form = _AT_LINE.get(Path(words[0]).name, ("+{line}", "{file}"))
    return [*words, *(part.format(file=file, line=line) for part in form)]


def find_editor(environ: Mapping[str, str]) -> str | None:
    """Return the user's editor: $VISUAL, $EDITOR, or else the first usual one that is installed."""
    named = environ.get("VISUAL", "").strip() or environ.get("EDITOR", "").strip()
    return named or next((name for name in _USUAL if shutil.which(name, path=environ.get("PATH"))), None)


def open_in_editor(app: App[Any], file: Path, line: int) -> None:
    """Open the file in the user's editor. Raises UserError when there is none, or it does not start."""
    editor = find_editor(os.environ)
    if not editor:
        raise UserError(f"no editor ({', '.join(_USUAL)}): set VISUAL or EDITOR, then e opens {file}:{line}")
    try:
        command = editor_command(editor, file, line)
    except ValueError as error:
        raise UserError(f"the editor {editor!r} is not a command ({error}); set VISUAL or EDITOR") from None
    try:
        if Path(command[0]).name in _IN_WINDOW:
            subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)
        else:
            with app.suspend():
                subprocess.run(command, check=False)
    except OSError as error:
        raise UserError(f"{editor} cannot be started: {error.strerror}; set EDITOR to another one") from None
