"""Shows what it was started with."""

import json
import os
import sys

FOUND = {
    "name": __name__,
    "file": __file__,
    "argv": sys.argv,
    "path0": sys.path[0],
    "cwd": os.getcwd(),
    "ours": [each for each in sys.path if each.rstrip("/").endswith("agent_tui/child/python")],
    "bytecode": sys.dont_write_bytecode,
    "stdin": os.readlink("/proc/self/fd/0"),
    "environ": dict(os.environ),
}


async def entry(ctx):
    print(json.dumps(FOUND))
