"""The table of all faults, and the choice of those that a run causes."""

import os
import random
from collections.abc import Iterator

from tests.chaos import faults_code, faults_files, faults_machine, faults_network, faults_processes
from tests.chaos.agent_source import JAVASCRIPT, SOURCE
from tests.chaos.kinds import Kind

KINDS = (
    *faults_code.KINDS,
    *faults_files.KINDS,
    *faults_processes.KINDS,
    *(faults_processes.BLANKS if SOURCE is JAVASCRIPT else faults_processes.FORKING),
    *faults_network.KINDS,
    *faults_machine.KINDS,
)

SEED = int(os.environ.get("AGENT_TUI_CHAOS_SEED", "20261124"))
FAULTS = int(os.environ.get("AGENT_TUI_CHAOS_FAULTS", str(len(KINDS))))
ONLY = os.environ.get("AGENT_TUI_CHAOS_ONLY", "").split()
"""Names of kinds, to run only these."""


def chosen(rng: random.Random) -> Iterator[Kind]:
    """Yield each kind once if the count allows, then kinds by weight. The same seed gives the same ones."""
    kinds = [kind for kind in KINDS if not ONLY or kind.name in ONLY]
    yield from rng.sample(kinds, min(FAULTS, len(kinds)))
    yield from rng.choices(kinds, [kind.weight for kind in kinds], k=max(FAULTS - len(kinds), 0))
