"""The script that the host starts on the agent's interpreter: `python main.py <descriptor>`.

The descriptor is the child's end of the channel. What to do comes over it (`process.main`).
"""

import importlib
import os
import sys
import types

PACKAGE = "_agent_tui_child"
"""The private name under which the modules beside this file are loaded."""

MODULES = ("process", "control", "native", "native_control", "native_job", "lk_control", "lk_job")
"""Everything is loaded before the agent's file is: later imports would meet the agent's own import state."""


def _leave_path(here: str) -> None:
    """Takes this file's folder off `sys.path`, where the interpreter put it."""
    if sys.path and os.path.realpath(sys.path[0]) == os.path.realpath(here):
        del sys.path[0]


def _load_siblings(here: str) -> types.ModuleType:
    package = types.ModuleType(PACKAGE)
    package.__path__ = [here]
    sys.modules[PACKAGE] = package
    before = sys.dont_write_bytecode
    sys.dont_write_bytecode = True
    try:
        for name in MODULES:
            importlib.import_module(f"{PACKAGE}.{name}")
    finally:
        sys.dont_write_bytecode = before
    return sys.modules[f"{PACKAGE}.process"]


if __name__ == "__main__":
    _here = os.path.dirname(os.path.abspath(__file__))
    _leave_path(_here)
    _load_siblings(_here).main(int(sys.argv[1]))
