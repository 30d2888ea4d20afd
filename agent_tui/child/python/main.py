"""The script that the host starts on the agent's interpreter: `python main.py <descriptor>`.

The descriptor is the child's end of the channel, which brings the spec (`process.main`).
"""

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    import types

PACKAGE = "_agent_tui_child"
"""The private package name under which the modules beside this file are loaded."""

MODULES = ("process", "control", "native", "native_control", "native_job", "lk_control", "lk_job")
"""All are loaded before the agent's file, whose changes to the import system would affect later imports."""


def _leave_path(here: str) -> None:
    """Remove this file's folder from `sys.path`, where the interpreter put it."""
    if sys.path and os.path.realpath(sys.path[0]) == os.path.realpath(here):
        del sys.path[0]


def _load_siblings(here: str) -> "types.ModuleType":
    package = type(sys)(PACKAGE)
    package.__path__ = [here]
    sys.modules[PACKAGE] = package
    before, path = sys.dont_write_bytecode, sys.path
    sys.dont_write_bytecode = True
    # A folder of PYTHONPATH may have modules named like the standard library's.
    standard = os.path.dirname(os.path.realpath(os.__file__))
    sys.path = [each for each in path if os.path.realpath(each).startswith(standard)]
    try:
        for name in MODULES:
            __import__(f"{PACKAGE}.{name}")
    finally:
        sys.dont_write_bytecode, sys.path = before, path
    return sys.modules[f"{PACKAGE}.process"]


if __name__ == "__main__":
    _here = os.path.dirname(os.path.abspath(__file__))
    _leave_path(_here)
    _load_siblings(_here).main(int(sys.argv[1]))
