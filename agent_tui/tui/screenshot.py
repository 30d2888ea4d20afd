"""Save a screenshot as an SVG file, with secrets masked."""

import time
from collections.abc import Iterable
from html import escape
from pathlib import Path

from agent_tui.files import create_file
from agent_tui.options.kinds import MASK

SHORTEST = 8
"""Shorter secrets are not masked: the dev server's `secret` is an ordinary word."""


def masked(svg: str, secrets: Iterable[str]) -> str:
    """Return the SVG with these secrets masked, in each way that SVG escapes them."""
    long = {each for each in secrets if len(each) >= SHORTEST}
    for secret in sorted(long, key=len, reverse=True):
        for spelled in {secret, escape(secret), escape(secret).replace(" ", "&#160;")}:
            svg = svg.replace(spelled, MASK)
    return svg


def save(svg: str, folder: Path) -> Path:
    """Write the SVG to a new file in `folder`, and return its path. Raise OSError if that fails.

    The folder is created if it does not exist.
    """
    folder.mkdir(parents=True, exist_ok=True)
    stamp = time.strftime("%Y%m%d-%H%M%S")
    for number in range(100):
        path = folder / f"agent-tui-{stamp}{f'-{number}' if number else ''}.svg"
        try:
            create_file(path, lambda file: file.write(svg))
        except FileExistsError:
            continue
        return path
    raise FileExistsError(f"too many screenshots in {folder}")
