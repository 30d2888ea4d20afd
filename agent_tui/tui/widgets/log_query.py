"""The search in the log lines: plain text, or a regular expression with a time limit."""

import re
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from time import thread_time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import regex

PREFIX = "re:"
"""The prefix of a regular expression."""

MATCH_S = 0.25
"""CPU seconds to match one slice of lines; `(a|aa)+$` can take years on a single line."""

MARK_S = 0.02
"""CPU seconds to find all matches in one line, so that a page of slow lines is still painted."""


class TooSlow(Exception):
    """A regular expression exceeded its time limit."""


@dataclass(frozen=True, slots=True)
class Query:
    """A search: `typed` is the user's input, empty for no search."""

    typed: str = ""
    text: str = ""
    """The plain text, in lower case if case does not matter; empty for a regular expression."""
    ignores_case: bool = False
    expression: "regex.Pattern[str] | None" = None

    def __bool__(self) -> bool:
        return bool(self.text) or self.expression is not None

    def matches(self, line: str, deadline: float) -> bool:
        """Return whether a line matches.

        Raises TooSlow if a regular expression has not finished by the deadline (`thread_time`).
        """
        if self.expression is None:
            return bool(self.text) and self.text in (line.lower() if self.ignores_case else line)
        left = deadline - thread_time()
        if left <= 0:  # `timeout` limits a single match, but many short ones add up
            raise TooSlow
        try:
            # Keep the GIL: releasing it for each line would wait for other threads each time.
            return self.expression.search(line, timeout=min(left, MATCH_S), concurrent=False) is not None
        except TimeoutError:
            raise TooSlow from None

    def spans(self, line: str) -> Iterator[tuple[int, int]]:
        """Yield start and end of the non-empty matches in a line, as many as are found in `MARK_S`."""
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
    """Parse a search: `re:` starts a regular expression; case matters only if it has capitals.

    Raises ValueError for an invalid regular expression.
    """
    if not typed.startswith(PREFIX):
        return Query(typed, typed, typed == typed.lower())
    expression = typed.removeprefix(PREFIX)
    if not expression:
        return NOTHING
    import regex  # takes 30 ms, so not before the first use

    capitals = any(char.isupper() for char in re.sub(r"\\.", "", expression, flags=re.DOTALL))
    flags = regex.MULTILINE | (0 if capitals else regex.IGNORECASE)
    try:
        with warnings.catch_warnings():  # such as the FutureWarning about `[[`
            warnings.simplefilter("ignore")
            return Query(typed, expression=regex.compile(expression, flags))
    except (regex.error, OverflowError, RecursionError) as error:
        raise ValueError(f"invalid regular expression: {error}") from None


def toggled(typed: str) -> str:
    """Add the prefix of a regular expression, or remove it."""
    return typed.removeprefix(PREFIX) if typed.startswith(PREFIX) else PREFIX + typed
