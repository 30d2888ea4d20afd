"""File descriptors: the limit, and a reserve for what must work when everything else has used them up."""

import contextlib
import resource
from collections.abc import Callable, Iterator

RESERVE = 64
"""How many descriptors only `reserve()` may use; an eighth of the hard limit if that is lower."""

Limits = tuple[int, int]
"""The soft and the hard limit of descriptors."""


class Descriptors:
    """The descriptor limit of this process, and its reserve.

    The soft limit applies to the whole process. It is kept below the hard limit, and raised for a moment for
    code that may use the reserve.
    """

    def __init__(
        self,
        get: Callable[[], Limits] = lambda: resource.getrlimit(resource.RLIMIT_NOFILE),
        put: Callable[[Limits], None] = lambda limits: resource.setrlimit(resource.RLIMIT_NOFILE, limits),
        put_for: Callable[[int, Limits], object] | None = None,
    ) -> None:
        """`put_for` sets the limits of another process; by default prlimit(2), if it exists."""
        self._get = get
        self._put = put
        self._put_for = put_for or _prlimit()
        self._original: Limits | None = None
        self._ceiling = 0
        self._borrowers = 0

    def raise_limit(self) -> None:
        """Raise the soft limit to the hard one, less the reserve. Do nothing without prlimit(2).

        Children must get the original limit back (`give_back`): `select()` fails above 1024.
        """
        soft, hard = self._get()
        if self._original is not None or self._put_for is None or hard == resource.RLIM_INFINITY:
            return
        self._original = soft, hard
        self._set_soft(hard - min(RESERVE, hard // 8))

    @property
    def limit(self) -> int:
        """The number of descriptors that this process may have, without the reserve."""
        return self._ceiling if self._borrowers else self._get()[0]

    def give_back(self, pid: int) -> None:
        """Give a child the limit that this process was started with."""
        if self._original is not None and self._put_for is not None:
            with contextlib.suppress(OSError, ValueError):  # it has ended, or its limit was lowered since
                self._put_for(pid, self._original)

    @contextlib.contextmanager
    def reserve(self) -> Iterator[None]:
        """Let files opened in the body use the reserve."""
        if not self._borrowers:
            self._ceiling, hard = self._get()
            self._set_soft(hard)
        self._borrowers += 1
        try:
            yield
        finally:
            self._borrowers -= 1
            if not self._borrowers:
                self._set_soft(self._ceiling)

    def _set_soft(self, soft: int) -> None:
        hard = self._get()[1]  # it may have been lowered since
        with contextlib.suppress(OSError, ValueError):
            self._put((min(soft, hard), hard))


def _prlimit() -> Callable[[int, Limits], object] | None:
    prlimit = getattr(resource, "prlimit", None)
    if prlimit is None:
        return None
    return lambda pid, limits: prlimit(pid, resource.RLIMIT_NOFILE, limits)


DESCRIPTORS = Descriptors()
"""The descriptors of this process, which share one limit."""
