"""Why a dispatch of ours came to no job, as far as that can be seen from here, and what to do."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from agent_tui.model.gate import TARGET_LOAD


@dataclass(frozen=True, slots=True)
class Standing:
    """How our worker stands with its server. `ids` are those of all its registrations, old ones too."""

    ids: frozenset[str]
    trouble: str | None
    agent_name: str
    server_type: str
    load: float
    """As it was last told to the server."""


def taken_elsewhere(dispatches: Iterable[Any], standing: Standing) -> str:
    """Which worker took the job instead of us, by its own list (worker-protocol §11.2); empty: none."""
    for dispatch in dispatches:
        for job in dispatch.state.jobs:
            worker = job.state.worker_id
            if worker and worker not in standing.ids:
                name = f"as {standing.agent_name!r}" if standing.agent_name else "without a name"
                return (
                    f"another worker took it: {worker} is registered {name} too; "
                    "end that one, or give this one a name of its own with --agent-name"
                )
    return ""


def never_offered(standing: Standing, within_s: float) -> str:
    """Why the server may have offered nothing."""
    said = f"the server offered no job within {within_s:g} s"
    if standing.trouble is not None:
        return f"{said}: {standing.trouble}"
    if standing.server_type != "room":
        return (
            f"{said}: serverType is {standing.server_type}, "
            f"so a job comes when somebody {_WHEN[standing.server_type]} the room (c copies a link into it)"
        )
    if standing.load >= TARGET_LOAD:
        return (
            f"{said}: this worker tells a load of {standing.load:.2f}, and servers pass over those at "
            f"{TARGET_LOAD:g} or more; raise loadThreshold or free the machine"
        )
    return said


_WHEN = {"publisher": "publishes in", "participant": "joins"}
