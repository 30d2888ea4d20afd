"""Numbers and durations as text for messages. Pure."""


def counted(number: int, noun: str) -> str:
    """Return a number with its noun: "1 job", "2 jobs", "2 processes"."""
    if number == 1:
        return f"1 {noun}"
    return f"{number} {noun}{'es' if noun.endswith('s') else 's'}"


def duration_text(seconds: float) -> str:
    """Return a duration: "12 ms", "1.5 s", "41 s", "12 min 4 s", "1 h 6 min"."""
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 9.95:
        return f"{seconds:.1f} s".replace(".0 s", " s")
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    parts = ((hours, "h"), (minute, "min"), (0 if hours else second, "s"))
    return " ".join(f"{count} {unit}" for count, unit in parts if count)
