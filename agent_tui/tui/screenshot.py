"""Save a screenshot as an SVG file, with secrets masked."""

from collections.abc import Iterable
from html import escape
from pathlib import Path

from agent_tui.files import create_stamped
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
    return create_stamped(folder, "agent-tui", ".svg", svg)
