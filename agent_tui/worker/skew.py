"""How far this machine's clock is from the server's, by the date in an HTTP answer. Tokens depend on it."""

import email.utils

SKEW_S = 30.0
"""A token of a clock this wrong is not valid yet, or no more, soon."""


def skew_s(date: str, now: float) -> float | None:
    """Seconds that this machine is ahead of a `Date` header's time; None where that cannot be read."""
    try:
        return now - email.utils.parsedate_to_datetime(date).timestamp()
    except (ValueError, TypeError):
        return None


def describe(skew: float) -> str:
    """The skew as people say it."""
    return f"this machine's clock is {abs(skew):.0f} s {'ahead of' if skew > 0 else 'behind'} the server's"
