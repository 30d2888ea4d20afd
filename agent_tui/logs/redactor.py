"""Makes text from outside fit to be shown: control characters removed, known secrets masked."""

import re
from collections.abc import Iterable

from agent_tui.logs.sanitise import MAX_LINE, sanitise

MASK = "•••"
MAX_DEPTH = 8
"""Of a record's fields; what lies deeper is kept as text."""

SHORTEST_SECRET = 12
"""Shorter ones (a development server's `secret`) are words of the language and hide nothing."""

_TOKEN = re.compile(r"eyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]{8,}")


class Redactor:
    """Cleans text for the log store and for events alike."""

    def __init__(self) -> None:
        self._secrets: tuple[str, ...] = ()

    def mask(self, secrets: Iterable[str]) -> None:
        """From now on these values are masked too; any JSON web token always is."""
        new = {secret for secret in secrets if len(secret) >= SHORTEST_SECRET}
        self._secrets = tuple(sorted(new | set(self._secrets), key=len, reverse=True))

    def clean(self, text: str, limit: int = MAX_LINE) -> str:
        """The text as it may be shown."""
        text = sanitise(text, limit)
        for secret in self._secrets:
            text = text.replace(secret, MASK)
        return _TOKEN.sub(MASK, text) if "eyJ" in text else text

    def clean_value(self, value: object, depth: int = MAX_DEPTH) -> object:
        """A record's field: the texts of lists and objects are cleaned as well."""
        if isinstance(value, str):
            return self.clean(value)
        if isinstance(value, (list, tuple, dict)) and not depth:
            return self.clean(str(value))
        if isinstance(value, dict):
            return {self.clean(str(name)): self.clean_value(each, depth - 1) for name, each in value.items()}
        if isinstance(value, (list, tuple)):
            return [self.clean_value(each, depth - 1) for each in value]
        return value
