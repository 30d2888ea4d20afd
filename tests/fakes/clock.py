"""A clock that stands still until a test moves it."""


class FakeClock:
    """Both clocks move together; `time()` starts at a date, `monotonic()` at 1000."""

    def __init__(self, start: float = 1_800_000_000.0) -> None:
        self._start = start
        self._passed = 0.0

    def advance(self, seconds: float) -> None:
        self._passed += seconds

    def time(self) -> float:
        return self._start + self._passed

    def monotonic(self) -> float:
        return 1000.0 + self._passed

    def boottime(self) -> float:
        return self.monotonic()
