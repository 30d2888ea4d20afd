"""What is searched for in the log lines: a text or a regular expression, and the time that one may take."""

import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from time import thread_time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import regex

PREFIX = "re:"
"""Typed before a regular expression."""

MATCH_S = 0.25
"""CPU seconds that one slice of lines may take to match; `(a|aa)+$` can take years on one line."""

MARK_S = 0.02
"""CPU seconds for finding all places in one line; a page of slow lines must still be painted."""


class TooSlow(Exception):
    """Matching took too long."""


@dataclass(frozen=True, slots=True)
class Query:
    """What is looked for; with an empty `typed`, nothing."""

    typed: str = ""
    text: str = ""
    """The text itself where it is no regular expression, in small letters if capitals do not count."""
    ignores_case: bool = False
    expression: "regex.Pattern[str] | None" = None

    def __bool__(self) -> bool:
        return bool(self.text) or self.expression is not None

    def matches(self, line: str, deadline: float) -> bool:
        """Return whether a line holds it.

        Raises TooSlow if a regular expression is not done by the deadline (`thread_time`).
        """
        if self.expression is None:
            return bool(self.text) and self.text in (line.lower() if self.ignores_case else line)
        left = deadline - thread_time()
        if left <= 0:  # a time-out is only seen within a match; many short ones take long too
            raise TooSlow
        try:
            # Releasing the interpreter for each line would wait for the other threads as often.
            return self.expression.search(line, timeout=min(left, MATCH_S), concurrent=False) is not None
        except TimeoutError:
            raise TooSlow from None

    def spans(self, line: str) -> Iterator[tuple[int, int]]:
        """Where in a line it stands, in order, as far as that is found in MARK_S; none of no length."""
        if self.expression is None:
            if self.text:
                flags = re.IGNORECASE if self.ignores_case else re.NOFLAG
                yield from (match.span() for match in re.finditer(re.escape(self.text), line, flags))
            return
        try:
            for match in self.expression.finditer(line, timeout=MARK_S, concurrent=False):
                if match.end() > match.start():
                    yield match.span()
        except TimeoutError:
            return


NOTHING = Query()


def parse(typed: str) -> Query:
    """What was typed: `re:` begins a regular expression; capitals count only where some are typed.

    Raises ValueError.
    """
    if not typed.startswith(PREFIX):
        return Query(typed, typed, typed == typed.lower())
    expression = typed.removeprefix(PREFIX)
    if not expression:
        return NOTHING
    import regex  # 30 ms that the first frame does not wait for

    capitals = any(char.isupper() for char in re.sub(r"\\.", "", expression, flags=re.DOTALL))
    flags = regex.MULTILINE | (0 if capitals else regex.IGNORECASE)
    try:
        with warnings.catch_warnings():  # `[[` may mean something else one day
            warnings.simplefilter("ignore")
            return Query(typed, expression=regex.compile(expression, flags))
    except (regex.error, OverflowError, RecursionError) as error:
        raise ValueError(f"no regular expression: {error}") from None


def toggled(typed: str) -> str:
    """The same as a regular expression, or as a text again."""
    return typed.removeprefix(PREFIX) if typed.startswith(PREFIX) else PREFIX + typed
