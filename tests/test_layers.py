"""What static contracts cannot see: what a clean process really imports, and what may stand where."""

import ast
import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "agent_tui"
CHILD = PACKAGE / "child" / "python"


def imported_by(statement: str) -> set[str]:
    """Top-level names in `sys.modules` of a clean process that ran the statement."""
    program = f"import json, sys\n{statement}\nprint(json.dumps(sorted(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT, env={}
    )
    return set(json.loads(done.stdout))


@pytest.mark.parametrize(
    "module",
    [
        "agent_tui.cli.main",
        "agent_tui.headless.run",
        "agent_tui.headless.tune",
        "agent_tui.tuning.sweep",
        "agent_tui.engine.engine",
        "agent_tui.local_server.server",
        "agent_tui.worker.worker",
    ],
)
def test_nothing_outside_the_screen_loads_a_screen_library(module: str) -> None:
    assert imported_by(f"import {module}") & {"textual", "rich"} == set()


def test_the_host_does_not_load_the_agents_sdk_or_the_child() -> None:
    loaded = imported_by("import agent_tui.engine.engine, agent_tui.headless.run")
    assert {
        name for name in loaded if name.startswith(("livekit.agents", "livekit.rtc", "agent_tui.child"))
    } == set()


def test_the_command_knows_nothing_heavy_before_it_needs_it() -> None:
    loaded = imported_by("import agent_tui.cli.main")
    assert loaded & {"aiohttp", "websockets", "google.protobuf", "psutil", "watchfiles"} == set()


def test_the_worker_can_register_before_a_web_server_is_imported() -> None:
    loaded = imported_by("import agent_tui.engine.engine, agent_tui.headless.run")
    assert loaded & {"aiohttp", "livekit.api"} == set()


def test_the_first_frame_does_not_wait_for_what_a_key_needs_later() -> None:
    assert imported_by("import agent_tui.tui.app") & {"regex", "tomlkit", "prometheus_client"} == set()


@pytest.mark.parametrize("package", ["model", "options", "worker.protocol"])
def test_pure_parts_load_no_event_loop(package: str) -> None:
    root = ROOT / "agent_tui" / package.replace(".", "/")
    names = [path.stem for path in root.glob("*.py")] if root.is_dir() else [root.name]
    base = f"agent_tui.{package}" if root.is_dir() else f"agent_tui.{package.rpartition('.')[0]}"
    pure = [name for name in names if name not in ("__init__", "envfiles", "signing")]
    loaded = imported_by("; ".join(f"import {base}.{name}" for name in pure))
    assert "asyncio.events" not in loaded


def test_the_child_needs_the_standard_library_only() -> None:
    allowed = set(sys.stdlib_module_names) | {"livekit"}
    for path in CHILD.glob("*.py"):
        loaded = subprocess.run(
            [sys.executable, "-I", "-S", "-c", f"compile(open({str(path)!r}).read(), 'x', 'exec')"],
            check=False,
        )
        assert loaded.returncode == 0
        for line in path.read_text().splitlines():
            words = line.split()
            if words[:1] in (["import"], ["from"]) and len(words) > 1 and not words[1].startswith("."):
                assert words[1].split(".")[0] in allowed, f"{path.name}: {line}"


def test_the_host_never_unpickles() -> None:
    """What a child says may be anybody's: nothing outside `child/` can turn bytes into code."""
    able = {"pickle", "cPickle", "marshal", "shelve", "dill", "cloudpickle"}
    found = [
        (path.relative_to(PACKAGE), name)
        for path in PACKAGE.rglob("*.py")
        if "child" not in path.relative_to(PACKAGE).parts
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        for name in _imported(node)
        if name.partition(".")[0] in able
    ]
    assert found == []


def _imported(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [each.name for each in node.names]
    return [node.module or ""] if isinstance(node, ast.ImportFrom) else []
