"""The agent's log records, sent over the channel as data."""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .channel import Channel

MAX_TEXT = 262_144
MAX_FIELD = 4_096

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_plain = logging.Formatter()


def _portable(value: object) -> object:
    """JSON as it is, where it is small and plain; else its text."""
    if value is None or isinstance(value, (bool, int)):
        return value
    if isinstance(value, float):
        return value if value - value == 0 else str(value)  # JSON has neither infinity nor NaN
    try:
        return str(value)[:MAX_FIELD]
    except Exception as error:
        return f"<{type(value).__name__}: {error}>"


class RecordHandler(logging.Handler):
    """Sends records to the host. Never blocks; `context` fields go with each record that lacks them."""

    def __init__(self, level: int) -> None:
        super().__init__(level)
        self._channel: Channel | None = None
        self.context: list[dict[str, Any]] = []

    def speak_to(self, channel: Channel) -> None:
        """Sends records there from now on."""
        self._channel = channel

    def emit(self, record: logging.LogRecord) -> None:
        try:
            text = _plain.format(record)[:MAX_TEXT]
            if self._channel is None or self._channel.ended:
                sys.stderr.write(text + "\n")
                return
            fields = {key: value for each in self.context for key, value in each.items()}
            fields.update((key, value) for key, value in vars(record).items() if key not in _STANDARD)
            self._channel.offer(
                "log",
                level=record.levelno,
                logger=record.name,
                ts=record.created,
                text=text,
                fields={str(key): _portable(value) for key, value in fields.items()},
            )
        except Exception:
            self.handleError(record)

    def install(self) -> None:
        """Puts this handler on the root logger, again if the agent's set-up threw it out.

        Plain console handlers on the root are taken off: each of their lines would be shown twice.
        """
        root = logging.getLogger()
        for handler in list(root.handlers):
            if type(handler) is logging.StreamHandler and handler.stream in (sys.stdout, sys.stderr):
                root.removeHandler(handler)
        if self not in root.handlers:
            root.addHandler(self)
