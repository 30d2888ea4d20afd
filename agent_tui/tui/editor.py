"""Opening a file at a line in the user's editor."""

import os
import shlex
import subprocess
from pathlib import Path
from typing import Any

from textual.app import App

from agent_tui.model.errors import UserError

_AT_LINE = {"code": ("--goto", "{file}:{line}"), "subl": ("{file}:{line}",), "zed": ("{file}:{line}",)}
"""Editors that do not take `+LINE FILE`."""

_IN_WINDOW = frozenset({"code", "subl", "zed", "gvim"})
"""Editors that open a window of their own: the screen stays."""


def editor_command(editor: str, file: Path, line: int) -> list[str]:
    """The command that opens the file at the line."""
    words = shlex.split(editor)
    form = _AT_LINE.get(Path(words[0]).name, ("+{line}", "{file}"))
    return [*words, *(part.format(file=file, line=line) for part in form)]


def open_in_editor(app: App[Any], file: Path, line: int) -> None:
    """Opens the file in $VISUAL or $EDITOR. Raises UserError when there is none, or it cannot be started."""
    editor = os.environ.get("VISUAL") or os.environ.get("EDITOR")
    if not editor:
        raise UserError(f"no editor: set EDITOR, then e opens {file}:{line}")
    command = editor_command(editor, file, line)
    try:
        if Path(command[0]).name in _IN_WINDOW:
            subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)
        else:
            with app.suspend():
                subprocess.run(command, check=False)
    except OSError as error:
        raise UserError(f"{editor} cannot be started: {error.strerror}; set EDITOR to another one") from None
