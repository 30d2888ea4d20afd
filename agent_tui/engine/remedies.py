"""Adds what to do to events about failures: the variable to set and where, or the command to run."""

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from agent_tui.files import shown_path
from agent_tui.model import events as ev
from agent_tui.model import session_events as se
from agent_tui.model.failures import INFERENCE, INFERENCE_NAMES, KEYS, Failure, FailureKind, failure_in_code
from agent_tui.options.envfiles import Environment, agent_folder
from agent_tui.reading import read_start
from agent_tui.runtimes.imports import imports_of
from agent_tui.runtimes.install import install_command
from agent_tui.runtimes.node.imports import imports_of as node_imports_of

MOST_BYTES = 2**18
"""Maximum number of bytes read from a file."""

MOST_LINES = 40
"""Maximum number of lines read of one import statement."""

OWN_PROJECT = f"{INFERENCE} needs a project of LiveKit Cloud"
"""A local server's key belongs to no project."""

NEED_KEYS = frozenset(KEYS) - {"azure", "google"}
"""The plugins that accept nothing else in place of their key."""

_PLUGIN = re.compile(r"(?:livekit\.plugins\.|@livekit/agents-plugin-)([\w-]+)")

RESTARTS = "R restarts a call with it"
"""A running call keeps the environment that it started with."""


@dataclass(frozen=True, slots=True)
class Place:
    """The project in which the agent's file runs."""

    agent: Path
    cwd: Path
    python: Path | None
    """The interpreter that runs the file; None for a JavaScript or TypeScript file."""
    environment: Environment

    def shown(self, path: Path) -> str:
        return shown_path(path, os.environ, self.cwd)


def with_remedy(event: ev.Event, place: Callable[[], Place]) -> ev.Event:
    """Return an event with what to do about its failure, if it is a failure that agent-tui knows."""
    add = _REMEDIES.get(type(event))
    return event if add is None else add(event, place)


def _load_failed(event: ev.GenerationFailed | ev.StartsFailing, place: Callable[[], Place]) -> ev.Event:
    failure = failure_in_code(event.error, event.traceback, _code(event.file, event.line))
    if not failure.kind:
        return event
    return replace(event, error=failure.text, todo=_in_code(failure, place(), "then reload (r)"))


def _code(file: str | None, line: int | None) -> str:
    """Return the line of a file that failed, and some lines after it, which may belong to it."""
    if not file or not line:
        return ""
    lines = _start_of(file).decode(errors="replace").split("\n")
    return "\n".join(lines[line - 1 : line - 1 + MOST_LINES])


def _start_of(file: str | Path) -> bytes:
    """Return the start of a file; nothing if it cannot be read."""
    try:
        return read_start(file, MOST_BYTES)
    except (OSError, ValueError):
        return b""


def _job_ended(event: ev.JobEnded, place: Callable[[], Place]) -> ev.Event:
    failure = failure_in_code(event.reason, event.traceback)
    if event.status is not ev.JobStatus.FAILED or not failure.kind:
        return event
    return replace(event, reason=failure.text, todo=_in_code(failure, place(), "then start another job"))


def _in_code(failure: Failure, place: Place, then: str) -> str:
    """Return what to do about a missing package or key."""
    if failure.kind is FailureKind.MISSING_PACKAGE:
        command = install_command(place.agent, failure.names, place.python, place.cwd)
        return f"run {command}, {then}"
    others = "" if _has(failure.names, place) else ", ".join(_missing_too(failure.names, place))
    return _set(failure.names, place) + (f" (also not set: {others})" if others else "")


def _missing_too(names: tuple[str, ...], place: Place) -> list[str]:
    """Return the variables of the other plugins that the agent's file imports, if they are not set either."""
    source = _start_of(place.agent)
    imports = imports_of(source) if place.python else node_imports_of(source)
    plugins = {found[1].replace("-", "_") for each in imports if (found := _PLUGIN.match(each.module))}
    wanted = sorted(KEYS[plugin] for plugin in plugins & NEED_KEYS)
    return [name for name in wanted if name not in names and not _has((name,), place)]


def _set(names: tuple[str, ...], place: Place) -> str:
    """Return in which file to set variables: the environment file that wins over others, or a new one."""
    if _has(names, place):  # set after the process started, or the code passes another value
        where = " and ".join(place.environment.variables[name].where for name in names)
        return f"{where} is set now: start another job, or check the value that the code passes"
    files = place.environment.files
    file = files[0] if files else agent_folder(place.agent) / ".env"
    what = f"set {' and '.join(names)} in {place.shown(file)}"
    return f"{what}, then save" if files else f"{what} (a new file), then save"


def _session_failed(event: se.SessionFailed, place: Callable[[], Place]) -> ev.Event:
    return replace(event, todo=_in_session(event, place)) if event.kind else event


def _in_session(event: se.SessionFailed, place: Callable[[], Place]) -> str:
    provider = event.provider or "the provider"
    match event.kind:
        case FailureKind.MISSING_KEY:
            return f"{_set(event.names, place())}; {RESTARTS}"
        case FailureKind.MISSING_PACKAGE:
            return _in_code(Failure(event.kind, "", event.names), place(), "then R restarts the call")
        case _ if event.provider == INFERENCE and not event.retrying and not _has(INFERENCE_NAMES, place()):
            return f"{OWN_PROJECT}: {_set(INFERENCE_NAMES, place())}; {RESTARTS}"
        case FailureKind.KEY_REFUSED:
            return f"{_check(KEYS.get(event.provider, ''), event.provider, place())}; {RESTARTS}"
        case FailureKind.QUOTA:
            return f"check the plan and the limits of your account at {provider}"
        case FailureKind.UNRESOLVED | FailureKind.UNREACHABLE:
            return "check the network of this machine, and the address if the code sets one"
        case FailureKind.CERTIFICATE:
            return "check the root certificates of this machine (SSL_CERT_FILE)"
        case _:
            return f"check the network of this machine and the status of {provider}"


def _has(names: tuple[str, ...], place: Place) -> bool:
    """Return whether new processes get a value for each of these variables."""
    given = (place.environment.variables.get(name) for name in names)
    return all(each is not None and each.raw for each in given)


def _check(name: str, provider: str, place: Place) -> str:
    """Return which variable to check, and where it is set."""
    if not name:
        return f"check the key of {provider or 'the provider'}"
    given = place.environment.variables.get(name)
    return f"check {given.where if given else name}, then save"


_REMEDIES: dict[type[object], Callable[[Any, Callable[[], Place]], ev.Event]] = {
    ev.GenerationFailed: _load_failed,
    ev.StartsFailing: _load_failed,
    ev.JobEnded: _job_ended,
    se.SessionFailed: _session_failed,
}
