"""What a base prepares for all processes forked from it: installed modules, and tidy memory.

A base imports nothing of the project. The environment variables that modules read during their import are
recorded, so that the host knows when a base is outdated (fork.md §4).
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import importlib
import os
from typing import Any, ClassVar, Iterable, Iterator

PRELOAD = "livekit.agents.ipc._preload"
"""The SDK's own warm-up since 1.8: native libraries, an HTTP client."""

END_OF_TURN = "end-of-turn model"
"""Not a module: the SDK's local end-of-turn weights, 210 MB that jobs with an AgentSession share."""

PRELOAD_SWITCH = "LIVEKIT_AGENTS_PRELOAD_LOCAL_INFERENCE"

HUGE = 8 * 1024 * 1024
MADV_DONTNEED, MADV_COLLAPSE = 4, 25

_asked: set[str] = set()


class _Recorder(type(os.environ)):  # type: ignore[misc]
    """An environment that records which variables are read; iterating over all of them does not count."""

    _walked: ClassVar[set[str]] = set()

    def __getitem__(self, key: str) -> Any:
        if key in self._walked:
            self._walked.discard(key)
        else:
            _asked.add(key)
        return super().__getitem__(key)

    def __iter__(self) -> Iterator[str]:
        for key in super().__iter__():
            self._walked.add(key)
            yield key


@contextlib.contextmanager
def _recorded() -> Iterator[None]:
    plain = type(os.environ)
    os.environ.__class__ = _Recorder
    try:
        yield
    finally:
        os.environ.__class__ = plain


def asked() -> list[str]:
    """Return the variables that modules read while they were imported here."""
    return sorted(_asked)


def preload(name: str) -> bool:
    """Import an installed module. Return False if that fails; the agent's own import reports the error."""
    gc.disable()
    step = _STEPS.get(name, importlib.import_module)
    try:
        with _recorded():
            step(name)
    except BaseException:
        return False
    return True


def freeze() -> None:
    """Exempt what is loaded from garbage collections: one in a fork would copy that memory.

    What is frozen already stays so: collecting it here would copy what running forks share with this process.
    """
    gc.collect()
    gc.freeze()


def warm_up_sdk(name: str = PRELOAD) -> None:
    """Run the SDK's warm-up.

    It includes voice activity detection, which is small, unless that is switched off. The end-of-turn weights
    are loaded on demand (`END_OF_TURN`), or now if the user asks for that.
    """
    asked_for = os.environ.get(PRELOAD_SWITCH)
    os.environ[PRELOAD_SWITCH] = "0"
    try:
        with contextlib.suppress(ImportError):  # since 1.8
            importlib.import_module(name)
    finally:
        if asked_for is None:
            del os.environ[PRELOAD_SWITCH]
        else:
            os.environ[PRELOAD_SWITCH] = asked_for
    if not _switched_off(asked_for):
        with contextlib.suppress(Exception):
            importlib.import_module("livekit.local_inference").init_vad()
    _build_tls_context()
    if asked_for is not None:
        _end_of_turn(END_OF_TURN)


def _build_tls_context() -> None:
    """Build the TLS context that the SDK keeps for its HTTP session: parsing the CA bundle takes 40 ms, which
    otherwise each job spends on its event loop, at the latest when it ends.
    """
    with contextlib.suppress(ImportError, AttributeError):  # the SDK keeps it since 1.8
        http_context = importlib.import_module("livekit.agents.utils.http_context")
        build = http_context._ssl_context_for
        before = os.environ.get("SSL_CERT_FILE")
        http_context._set_default_cert_env()  # as in each job: the SDK keeps one context per bundle
        build(os.environ.get("SSL_CERT_FILE"), os.environ.get("SSL_CERT_DIR"))
        if before is None:
            os.environ.pop("SSL_CERT_FILE", None)


def _end_of_turn(name: str) -> None:
    """Load the weights into large pages: forks are 5 times as fast as with 50,000 small ones to copy."""
    if not _switched_off(os.environ.get(PRELOAD_SWITCH)):
        before = {region.start for region in _regions()}
        with contextlib.suppress(ImportError):
            importlib.import_module("livekit.local_inference").init_eot()
        _advise(
            MADV_COLLAPSE,
            (each for each in _regions() if each.large and each.start not in before),
        )


def _switched_off(value: str | None) -> bool:
    return value is not None and value.strip().lower() in ("0", "false", "no", "off")


_STEPS = {PRELOAD: warm_up_sdk, END_OF_TURN: _end_of_turn}


def free_memory() -> None:
    """Free memory that a waiting base does not need.

    Only mappings that are not writable and hold no anonymous pages are dropped (relocated data would be
    lost); they are read from the file again when used. Nothing moves: existing forks share it.
    """
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
    _advise(MADV_DONTNEED, (each for each in _regions() if each.clean))


class _Region:
    """A memory mapping of this process."""

    __slots__ = ("clean", "large", "size", "start")

    def __init__(self, head: list[str], anonymous: bool) -> None:
        self.start, end = (int(each, 16) for each in head[0].split("-"))
        self.size = end - self.start
        file, writable = head[4] != "0", "w" in head[1]
        self.clean = file and not writable and not anonymous
        self.large = not file and writable and self.size > HUGE


def _regions() -> list[_Region]:
    """Return all mappings; empty if the system does not list them."""
    found = []
    with contextlib.suppress(OSError), open("/proc/self/smaps", encoding="utf-8", errors="replace") as smaps:
        head: list[str] = []
        for line in smaps:
            parts = line.split()
            if not parts[0].endswith(":"):
                head = parts
            elif parts[0] == "Anonymous:" and len(head) >= 5:
                found.append(_Region(head, parts[1] != "0"))
    return found


def _advise(advice: int, regions: Iterable[_Region]) -> None:
    """Advise the kernel; do nothing if it does not know the advice."""
    with contextlib.suppress(OSError, AttributeError):
        madvise = ctypes.CDLL(None).madvise
        for region in regions:
            madvise(ctypes.c_void_p(region.start), ctypes.c_size_t(region.size), advice)
