"""Loads many files as a child does, one after the other in this process: `loader.py <descriptor> <first>`.

Prints a JSON line with the result of each. If a file kills this process, the next one to load is the first
without a line.
"""

import contextlib
import io
import json
import sys
from pathlib import Path
from typing import Any


def main(fd: int, first: int) -> None:
    from agent_tui.child.python import loading, project_files, snapshots

    out = sys.stdout
    snapshot = snapshots.Snapshot(fd)
    paths = sorted(path for path in snapshot._places if "/m" in path)
    loading.prepare(paths[0], str(Path(paths[0]).parent), snapshot, "dev")
    for number, path in enumerate(paths[first:], first):
        told: dict[str, Any] = {"number": number}
        try:
            with contextlib.redirect_stdout(io.StringIO()):
                loading.run_file(path, "__mp_main__")
        except BaseException as error:
            told |= loading.describe(error, path)
        told["handed_over"] = 0
        loading.hand_over_code(lambda _, modules, told=told: told.update(handed_over=len(modules)))
        assert project_files.loaded_files(path)
        out.write(json.dumps(told) + "\n")
        out.flush()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
