"""400 generated Python files through the import scan and the load (AGENT_TUI_FUZZ_FILES, …_SEED)."""

import ast
import json
import subprocess
import sys
import warnings
from collections import Counter
from pathlib import Path

import pytest

from agent_tui.generations.sources import Sources
from agent_tui.runtimes.imports import MOST_NAMES, MOST_SCANNED, imports_of
from agent_tui.runtimes.kinds import detect
from agent_tui.runtimes.python import Modules, SnapshotFile
from tests.cli.support import ROOT, agent_tui
from tests.fuzz.mutate import tell
from tests.fuzz.sources import FILES, sources

SAVES = 30
"""Files that are saved one after the other beside a running agent."""


def imported(source: bytes) -> set[str]:
    """Return what a parser finds, without imports for type checkers; empty if it fails."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            tree = ast.parse(source)
        except (SyntaxError, ValueError, RecursionError, MemoryError):
            return set()
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {each.name for each in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {f"{node.module}.{each.name}" for each in node.names}
    return found - {"decimal"}


@pytest.mark.timeout(300)
def test_the_import_scan() -> None:
    seen: Counter[str] = Counter()
    for number, each in enumerate(sources()):
        found = {one.module for one in imports_of(each.content)}
        assert len(found) <= MOST_NAMES
        seen[each.kind] += 1
        if each.kind not in ("valid", "deep", "ends") or len(each.content) > MOST_SCANNED:
            continue
        if wanted := imported(each.content):
            assert wanted <= found, (number, each)
            seen["parsed"] += 1
    tell("import scan", seen)
    assert seen["parsed"] > FILES / 6


@pytest.mark.timeout(600)
def test_the_load(tmp_path: Path) -> None:
    """All files as modules of one project, and each run by a child's loader, many in one process."""
    files = list(sources())
    for number, each in enumerate(files):
        (tmp_path / f"m{number:05}.py").write_bytes(each.content)
    agent = tmp_path / "agent.py"
    agent.write_text("".join(f"import m{number:05}\n" for number in range(FILES)))
    found = Sources(agent, cwd=tmp_path)
    snapshot = found.read()
    assert len(snapshot.modules) == FILES + 1
    assert found.changed(snapshot) == ()
    assert detect(agent) == "native"

    kept = SnapshotFile(Modules(snapshot.modules, snapshot.missing))
    seen: Counter[str] = Counter()
    told = 0
    try:
        while told < FILES:
            done = subprocess.run(
                [sys.executable, str(Path(__file__).with_name("loader.py")), str(kept.fd), str(told)],
                pass_fds=(kept.fd,),
                cwd=tmp_path,
                env={"PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "ignore"},
                capture_output=True,
                check=False,
            )
            lines = [json.loads(line) for line in done.stdout.splitlines()]
            seen.update(line.get("error", "loaded").partition(":")[0] for line in lines)
            told += len(lines)
            if told < FILES:
                # Some kill the interpreter itself, as they would in their own process.
                assert done.returncode < 0, done.stderr[-2000:]
                seen[f"killed by {-done.returncode} ({files[told].kind})"] += 1
                told += 1
    finally:
        kept.close()
    tell("load", seen)
    assert seen["loaded"] > FILES / 6
    assert {"SyntaxError", "loaded"} <= set(seen)


@pytest.mark.real
@pytest.mark.timeout(300)
async def test_saves_beside_a_running_agent(tmp_path: Path) -> None:
    agent, helper = tmp_path / "agent.py", tmp_path / "helper.py"
    agent.write_text("import helper\nasync def entry(ctx): ...\n")
    helper.write_text("")
    seen: Counter[str] = Counter()
    ends = ("generation_ready", "generation_failed", "generation_overtaken")
    chosen = list(sources())[:: max(FILES // SAVES, 1)][:SAVES]
    async with agent_tui(agent, "--local", "--json", "--port", 0) as run:
        await run.until("registered")
        await run.until("generation_ready")
        content = b""
        for each in chosen:
            if each.content == content:
                continue
            content = each.content
            count = sum(len(run.all(name)) for name in ends)
            helper.write_bytes(content)
            while sum(len(run.all(name)) for name in ends) == count:
                await run.more()
            seen[run.events[-1]["event"]] += 1
        helper.write_text("last = 1\n")
        await run.until("generation_ready", len(run.all("generation_ready")) + 1)
        assert run.all("unregistered") == []
    tell("saves", seen)
    assert {"generation_ready", "generation_failed"} <= set(seen)
