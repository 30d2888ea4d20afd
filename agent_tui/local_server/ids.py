"""Identifiers as the server makes them: a prefix that names the kind, then 12 characters."""

import string
from random import Random
from typing import Final

WORKER: Final = "AW_"
JOB: Final = "AJ_"
DISPATCH: Final = "AD_"
ROOM: Final = "RM_"
PARTICIPANT: Final = "PA_"
TRACK: Final = "TR_"
NODE: Final = "ND_"

_ALPHABET: Final = string.ascii_letters + string.digits
_LENGTH: Final = 12


def new_id(prefix: str, rng: Random) -> str:
    """A fresh identifier (worker-protocol §3, IDs)."""
    return prefix + "".join(rng.choices(_ALPHABET, k=_LENGTH))
