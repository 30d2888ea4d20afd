"""A picture of the screen as a file, with nothing secret in it."""

import time
from collections.abc import Iterable
from html import escape
from pathlib import Path

from agent_tui.files import create_file
from agent_tui.options.kinds import MASK

SHORTEST = 8
"""Of the secrets that are looked for: a development server's `secret` is a word like any other."""


def masked(svg: str, secrets: Iterable[str]) -> str:
    """The picture without these texts, however it spells them."""
    long = {each for each in secrets if len(each) >= SHORTEST}
    for secret in sorted(long, key=len, reverse=True):
        for spelled in {secret, escape(secret), escape(secret).replace(" ", "&#160;")}:
            svg = svg.replace(spelled, MASK)
    return svg


def save(svg: str, folder: Path) -> Path:
    """Writes the picture under a name that was free. Raises OSError."""
    stamp = time.strftime("%Y%m%d-%H%M%S")
    for number in range(100):
        path = folder / f"agent-tui-{stamp}{f'-{number}' if number else ''}.svg"
        try:
            create_file(path, lambda file: file.write(svg))
        except FileExistsError:
            continue
        return path
    raise FileExistsError(f"too many pictures in {folder}")
