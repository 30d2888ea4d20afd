"""The agent's log records, sent over the channel as data."""

from __future__ import annotations

import itertools
import logging
import sys
from typing import TYPE_CHECKING, Any

from .channel import shortened

if TYPE_CHECKING:
    from .channel import Channel

MAX_FIELD = 4_096
MAX_NAME = 256
MAX_FIELDS = 64

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
_plain = logging.Formatter()


def _portable(value: object) -> object:
    """Return small plain values for JSON as they are, others as text."""
    if value is None or isinstance(value, bool) or (isinstance(value, int) and abs(value) < 1 << 63):
        return value
    if isinstance(value, float):
        return value if value - value == 0 else str(value)  # JSON has neither infinity nor NaN
    try:
        return shortened(str(value), MAX_FIELD)
    except Exception as error:
        return shortened(f"<{type(value).__name__}: {error}>", MAX_FIELD)


def _fields(values: dict[Any, object]) -> dict[str, object]:
    found = {
        shortened(str(key), MAX_NAME): _portable(value)
        for key, value in itertools.islice(values.items(), MAX_FIELDS)
    }
    if len(values) > MAX_FIELDS:
        found["…"] = f"{len(values) - MAX_FIELDS} more fields"
    return found


class RecordHandler(logging.Handler):
    """Sends records to the host. Never blocks; `context` fields are added to each record that lacks them."""

    def __init__(self, level: int) -> None:
        super().__init__(level)
        self._channel: Channel | None = None
        self.context: list[dict[str, Any]] = []

    def send_to(self, channel: Channel) -> None:
        """Send records over this channel from now on."""
        self._channel = channel

    def emit(self, record: logging.LogRecord) -> None:
        try:
            text = shortened(_plain.format(record))
            if self._channel is None or self._channel.ended:
                sys.stderr.write(text + "\n")
                return
            fields = {key: value for each in self.context for key, value in each.items()}
            fields.update((key, value) for key, value in vars(record).items() if key not in _STANDARD)
            self._channel.offer(
                "log",
                level=record.levelno,
                logger=shortened(str(record.name), MAX_NAME),
                ts=record.created,
                text=text,
                fields=_fields(fields),
            )
        except Exception:
            self.handleError(record)

    def install(self) -> None:
        """Put this handler on the root logger, again if the agent's set-up removed it.

        Plain console handlers on the root logger are removed: each of their lines would appear twice.
        """
        root = logging.getLogger()
        for handler in list(root.handlers):
            if type(handler) is logging.StreamHandler and handler.stream in (sys.stdout, sys.stderr):
                root.removeHandler(handler)
        if self not in root.handlers:
            root.addHandler(self)
