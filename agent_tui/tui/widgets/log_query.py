"""What is looked for in the log lines: a text or a regular expression, and the time that one may take."""

import re
import signal
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

PREFIX = "re:"
"""Typed before a regular expression."""

MATCH_S = 0.25
"""CPU seconds that one slice of lines may take to match; `(a+)+$` can take years on one line."""


class BadQuery(ValueError):
    """What was typed is no regular expression; the text says why, in a few words."""


class TooSlow(Exception):
    """Matching took too long."""


@dataclass(frozen=True, slots=True)
class Query:
    """What is looked for; with an empty `typed`, nothing."""

    typed: str = ""
    pattern: re.Pattern[str] | None = None
    """Finds it within a line."""
    plain: str = ""
    """The text itself where it is no regular expression, in small letters if capitals do not count."""
    fold: bool = False

    def __bool__(self) -> bool:
        return self.pattern is not None

    @property
    def is_regex(self) -> bool:
        return self.pattern is not None and not self.plain

    def matches(self, text: str) -> bool:
        """Whether a line holds it."""
        if self.plain:
            return self.plain in (text.lower() if self.fold else text)
        return self.pattern is not None and self.pattern.search(text) is not None

    def spans(self, text: str) -> Iterator[tuple[int, int]]:
        """Where in a line it stands, in order; places of no length are left out."""
        if self.pattern is not None:
            yield from (match.span() for match in self.pattern.finditer(text) if match.end() > match.start())


NOTHING = Query()


def parse(typed: str) -> Query:
    """What was typed: `re:` begins a regular expression; capitals count only where some are typed.

    Raises BadQuery.
    """
    if not typed.startswith(PREFIX):
        flags = re.NOFLAG if typed != typed.lower() else re.IGNORECASE
        pattern = re.compile(re.escape(typed), flags) if typed else None
        return Query(typed, pattern, typed, fold=bool(flags))
    expression = typed.removeprefix(PREFIX)
    if not expression:
        return NOTHING
    capitals = any(char.isupper() for char in re.sub(r"\\.", "", expression, flags=re.DOTALL))
    try:
        with warnings.catch_warnings():  # `[[` may mean something else one day
            warnings.simplefilter("ignore")
            return Query(typed, re.compile(expression, re.MULTILINE | (0 if capitals else re.IGNORECASE)))
    except (re.error, OverflowError, RecursionError) as error:
        raise BadQuery(f"no regular expression: {error}") from None


def toggled(typed: str) -> str:
    """The same as a regular expression, or as a text again."""
    return typed.removeprefix(PREFIX) if typed.startswith(PREFIX) else PREFIX + typed


_armed = False


@contextmanager
def time_limit(query: Query, seconds: float = MATCH_S) -> Iterator[None]:
    """Raises TooSlow in the block after so many CPU seconds, if the query could take long.

    Python's matcher holds the interpreter while it backtracks, so that no thread could stop it, but it looks
    for signals. Elsewhere than in the main thread, and where there is no such timer, nothing is limited.
    """
    global _armed
    if not query.is_regex or not _installed():
        yield
        return
    _armed = True
    signal.setitimer(signal.ITIMER_VIRTUAL, seconds)
    try:
        yield
    finally:
        _armed = False
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)


def _installed() -> bool:
    try:
        if signal.getsignal(signal.SIGVTALRM) is not _expired:
            signal.signal(signal.SIGVTALRM, _expired)
    except (AttributeError, ValueError):
        return False
    return True


def _expired(number: int, frame: FrameType | None) -> None:
    if _armed:
        raise TooSlow
