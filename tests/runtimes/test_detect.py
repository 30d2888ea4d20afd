"""Which runtime an agent file is for."""

from pathlib import Path

import pytest
from msgspec.structs import replace

from agent_tui.model.child import Failed
from agent_tui.model.errors import ExitCode, UserError
from agent_tui.runtimes.kinds import changed_kind, detect, may_be_of_another_kind
from tests.generations.support import MANIFEST

from .support import AGENTS


@pytest.mark.parametrize(
    ("source", "runtime"),
    [
        ("from livekit.agents import cli\n", "livekit-agents"),
        ("from livekit import agents\n", "livekit-agents"),
        ("import livekit.agents as lk\n", "livekit-agents"),
        ("def f():\n    from livekit.plugins import silero\n", "livekit-agents"),
        ("try:\n    import livekit.agents\nexcept ImportError:\n    pass\n", "livekit-agents"),
        ("from livekit.agents import (cli,\n   JobContext\n", "livekit-agents"),
        ("import livekit.agents_but_not\n", "native"),
        ("from livekit import rtc\n", "native"),
        ("# from livekit.agents import cli\nx = 'import livekit.agents'\n", "native"),
        (
            "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from livekit.agents import X\n",
            "native",
        ),
        ("from .agents import x\n", "native"),
        ("", "native"),
    ],
)
def test_detection_by_the_file_itself(tmp_path: Path, source: str, runtime: str) -> None:
    file = tmp_path / "agent.py"
    file.write_text(source)
    assert detect(file) == runtime


@pytest.mark.parametrize(
    "text",
    [
        "x = " + " + ".join(["1"] * 5000),
        "x = a" + ".b" * 100_000,
        "x = " + "(" * 5000,
        "x = " + "-" * 100_000 + "1",
        "if x: pass\n" + "elif x: pass\n" * 5000,
        "print 'of another Python'",
        "match = 1; type X = int; t'{x}'",
        "x = 1\0",
        "# coding: no-such\nx = '\udcff'",
    ],
    ids=range(9),
)
def test_files_that_do_not_parse_here_are_still_scanned(tmp_path: Path, text: str) -> None:
    file = tmp_path / "agent.py"
    file.write_bytes(b"from livekit.agents import cli\n" + text.encode("utf-8", "surrogateescape"))
    (tmp_path / "m.py").write_bytes(file.read_bytes())
    assert detect(file) == "livekit-agents"
    file.write_text("import m\n")
    assert detect(file) == "livekit-agents"
    assert changed_kind(file, "livekit-agents") == ""


def test_strings_and_what_is_only_for_types_import_nothing(tmp_path: Path) -> None:
    file = tmp_path / "agent.py"
    file.write_text(
        r'''"""
import livekit.agents
"""
from typing import TYPE_CHECKING
import typing
x = """'
from livekit.agents import cli
"""; y = '\\'; z = f"""{x["a"]}
import livekit.agents"""
if typing.TYPE_CHECKING:

    import livekit.agents
    if x:
        import livekit.agents
elif TYPE_CHECKING:
    import livekit.agents
'''
    )
    assert detect(file) == "native"
    file.write_text(file.read_text() + "else:\n    import livekit.agents\n")
    assert detect(file) == "livekit-agents"


@pytest.mark.parametrize("name", ["x" * 300 + ".a", "ä" * 200 + ".a", "a" * 1000, "." * 300])
def test_names_that_no_file_can_have(tmp_path: Path, name: str) -> None:
    file = tmp_path / "agent.py"
    file.write_text(f"import {name}\nfrom {name} import b\n")
    assert detect(file) == "native"


def test_detection_looks_into_local_modules(tmp_path: Path) -> None:
    (tmp_path / "agent.py").write_text("from app.main import entry\n")
    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "__init__.py").write_text("")
    (tmp_path / "app" / "main.py").write_text("from . import server\nfrom ..app import main\n")
    (tmp_path / "app" / "server.py").write_text("from livekit.agents import AgentServer\n")
    assert detect(tmp_path / "agent.py") == "livekit-agents"


def test_a_chain_of_modules_is_followed_to_a_limit(tmp_path: Path) -> None:
    for number in range(200):
        (tmp_path / f"m{number}.py").write_text(f"import m{number + 1}\n")
    (tmp_path / "m200.py").write_text("import livekit.agents\n")
    assert detect(tmp_path / "m0.py") == "native"


@pytest.mark.parametrize("path", sorted(AGENTS.glob("*.py")), ids=lambda path: path.stem)
def test_the_sample_agents(path: Path) -> None:
    assert detect(path) == ("livekit-agents" if path.stem.startswith("sdk_") else "native")


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("agent.ts", "no such file"),
        ("agent.mjs", "no such file"),
        ("gone.py", "no such file"),
        ("notes.txt", "is not an agent file"),
        ("folder", "is a folder"),
    ],
)
def test_a_file_that_is_not_an_agent_is_refused(tmp_path: Path, name: str, what: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "notes.txt").write_text("")
    with pytest.raises(UserError, match=what) as caught:
        detect(tmp_path / name)
    assert caught.value.exit_code is ExitCode.USAGE
    assert str(tmp_path / name) in str(caught.value)


def test_a_file_that_became_one_of_another_kind(tmp_path: Path) -> None:
    file = tmp_path / "agent.py"
    assert changed_kind(file, "native") == ""  # the file is gone, which the load reports
    file.write_text("async def entry(ctx): ...\n")
    assert changed_kind(file, "native") == ""
    assert changed_kind(file, "livekit-agents") == (
        "agent.py is a native file now, but was a livekit-agents file when agent-tui started: "
        "restart agent-tui"
    )
    file.write_text("from livekit.agents import AgentServer\n")
    assert changed_kind(file, "livekit-agents") == ""
    assert changed_kind(file, "native").startswith(
        "agent.py is a livekit-agents file now, but was a native file"
    )


@pytest.mark.parametrize(
    ("imports", "kind", "may"),
    [
        ((), "native", False),
        (("aiohttp", "livekit", "livekit.agentsmith"), "native", False),
        (("livekit.agents.voice",), "native", True),
        (("livekit", "livekit.agents"), "native", True),
        (("livekit", "livekit.agents"), "livekit-agents", False),
    ],
)
def test_imports_show_whether_to_detect_again(imports: tuple[str, ...], kind: str, may: bool) -> None:
    assert may_be_of_another_kind(replace(MANIFEST, imports=imports), kind) is may


@pytest.mark.parametrize(
    ("error", "kind", "may"),
    [
        ("LookupError: no entry function", "native", True),
        ("SyntaxError: invalid syntax", "native", False),  # which reports itself
        ("ModuleNotFoundError: No module named 'livekit.agnets'", "native", True),
        ("ModuleNotFoundError: No module named 'livekit.agnets'", "livekit-agents", False),
        ("TypeError: no server", "livekit-agents", True),
    ],
)
def test_failures_show_whether_to_detect_again(error: str, kind: str, may: bool) -> None:
    assert may_be_of_another_kind(Failed(error, "Traceback…"), kind) is may
    assert may_be_of_another_kind(None, kind)
