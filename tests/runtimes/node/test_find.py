"""Which Node, SDK, and TypeScript loader are found, and the errors if they are not."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from agent_tui.model.errors import UserError
from agent_tui.runtimes.node.find import find_node, is_esm

from .support import write

SDK = {"node_modules/@livekit/agents/package.json": '{"version": "1.9.0"}', "package.json": "{}"}


def installed(folder: Path, *nodes: str) -> None:
    for each in nodes:
        write(folder, {each: "#!/bin/sh\n"})
        (folder / each).chmod(0o755)


class Nodes:
    """Answers for Node programs by their paths; 22.0.0 for all others."""

    def __init__(self, versions: Mapping[str, str] | None = None) -> None:
        self.versions = versions or {}
        self.asked: list[str] = []

    def __call__(self, path: Path, environ: Mapping[str, str]) -> tuple[str, Path]:
        self.asked.append(str(path))
        version = next((v for part, v in self.versions.items() if part in str(path)), "22.0.0")
        if version == "breaks":
            raise OSError("no such program")
        return version, path


def test_the_order_and_the_misses(tmp_path: Path) -> None:
    write(tmp_path, SDK | {"agent.mjs": "", "home/.nvm/alias/default": "lts/iron\n", "home/.nvm/alias/lts/iron": "v20.11"})  # fmt: skip
    installed(
        tmp_path,
        "home/.nvm/versions/node/v20.11.1/bin/node",
        "home/.nvm/versions/node/v20.9.0/bin/node",
        "home/.volta/bin/node",
        "home/.local/share/fnm/aliases/default/bin/node",
        "bin/node",
    )
    environ = {"HOME": str(tmp_path / "home"), "PATH": str(tmp_path / "bin")}
    ask = Nodes({".nvm": "18.20.1", ".volta": "breaks", "fnm": "19.0.0"})
    node = find_node(tmp_path / "agent.mjs", environ, ask=ask)
    assert (node.path, node.how) == (tmp_path / "bin/node", "node on PATH")
    assert [(each.how, each.reason) for each in node.misses] == [
        ("nvm, default", "is Node 18.20.1, but 20 or later is needed"),
        ("volta", "failed to run: no such program"),
        ("fnm, default", "is Node 19.0.0, but 20 or later is needed"),
    ]
    assert ask.asked[0].endswith("v20.11.1/bin/node")
    chosen = node.chosen()
    assert (chosen.language, len(chosen.misses)) == ("Node", 3)
    assert chosen.package == f"@livekit/agents 1.9.0 in {node.package} (ESM)"


def test_the_version_that_the_project_names(tmp_path: Path) -> None:
    write(tmp_path, SDK | {"agent.mjs": "", ".nvmrc": "20 # as in CI\n"})
    installed(tmp_path, "nvm/versions/node/v20.2.0/bin/node", "nvm/versions/node/v22.1.0/bin/node")
    environ = {"NVM_DIR": str(tmp_path / "nvm"), "PATH": ""}
    node = find_node(tmp_path / "agent.mjs", environ, ask=Nodes())
    assert (node.path.parts[-3], node.how) == ("v20.2.0", "nvm, .nvmrc")


@pytest.mark.parametrize("given", ["bin/node", "."])
def test_the_flag_alone_counts(tmp_path: Path, given: str) -> None:
    write(tmp_path, SDK | {"agent.mjs": ""})
    installed(tmp_path, "bin/node")
    node = find_node(tmp_path / "agent.mjs", {"PATH": "/usr/bin"}, str(tmp_path / given), Nodes())
    assert (node.path, node.how, node.misses) == (tmp_path / "bin/node", "--node", ())


def test_no_node(tmp_path: Path) -> None:
    write(tmp_path, SDK | {"agent.mjs": ""})
    installed(tmp_path, "bin/node")
    with pytest.raises(UserError) as error:
        find_node(tmp_path / "agent.mjs", {"PATH": str(tmp_path / "bin")}, ask=Nodes({"bin/node": "18.1.0"}))
    assert str(error.value) == (
        f"no Node can run {tmp_path}/agent.mjs: {tmp_path}/bin/node (node on PATH) is Node 18.1.0, but "
        "20 or later is needed; install Node 20 or later, or choose one with --node"
    )


@pytest.mark.parametrize(
    ("version", "says"),
    [
        ("1.4.11", "@livekit/agents 1.4.11 in {folder}/node_modules/@livekit/agents is too old, 1.5 or later is needed"),
        ("0.7.9", "is too old"),
        ("1.5.0", ""),
        ("2.0.0-rc.1", ""),
    ],
)  # fmt: skip
def test_the_sdks_version(tmp_path: Path, version: str, says: str) -> None:
    package = {"node_modules/@livekit/agents/package.json": f'{{"version": "{version}"}}'}
    write(tmp_path, {"src/agent.mjs": "", "package.json": "{}", **package})
    installed(tmp_path, "bin/node")
    environ = {"PATH": str(tmp_path / "bin")}
    if says:
        with pytest.raises(UserError) as error:
            find_node(tmp_path / "src/agent.mjs", environ, ask=Nodes())
        assert says.format(folder=tmp_path) in str(error.value)
        assert str(error.value).endswith(f"run npm install @livekit/agents@latest in {tmp_path}")
    else:
        assert find_node(tmp_path / "src/agent.mjs", environ, ask=Nodes()).sdk_version == version


def test_without_the_sdk_it_says_what_to_install(tmp_path: Path) -> None:
    write(tmp_path, {"agent.mjs": "", "package.json": "{}"})
    with pytest.raises(UserError) as error:
        find_node(tmp_path / "agent.mjs", {})
    assert str(error.value) == (
        f"{tmp_path}/agent.mjs needs @livekit/agents, which is not installed: "
        f"run npm install @livekit/agents in {tmp_path}"
    )
    write(tmp_path, {".pnp.cjs": ""})
    with pytest.raises(UserError, match="Plug'n'Play is not supported: set nodeLinker: node-modules"):
        find_node(tmp_path / "agent.mjs", {})


def test_what_reads_typescript(tmp_path: Path) -> None:
    write(tmp_path, SDK | {"agent.ts": ""})
    installed(tmp_path, "bin/node")
    environ = {"PATH": str(tmp_path / "bin")}
    with pytest.raises(UserError) as error:
        find_node(tmp_path / "agent.ts", environ, ask=Nodes({"bin/node": "20.11.0"}))
    assert str(error.value) == (
        f"{tmp_path}/agent.ts is TypeScript, which Node 20.11.0 cannot run: run npm install --save-dev tsx "
        f"in {tmp_path}, or choose Node 22.7 or later with --node"
    )
    node = find_node(tmp_path / "agent.ts", environ, ask=Nodes({"bin/node": "22.18.0"}))
    assert (node.typescript, node.tsx) == ("strip", None)
    write(tmp_path, {"node_modules/tsx/package.json": '{"exports": {".": "./dist/loader.mjs"}}'})
    node = find_node(tmp_path / "agent.ts", environ, ask=Nodes({"bin/node": "20.11.0"}))
    assert (node.typescript, node.tsx) == ("tsx", tmp_path / "node_modules/tsx/dist/loader.mjs")
    assert node.flags == ()


@pytest.mark.parametrize(
    ("name", "kind", "source", "with_tsx", "esm"),
    [
        ("a.mjs", "", "", False, True),
        ("a.cts", "module", "", True, False),
        ("a.js", "module", "", False, True),
        ("a.js", "commonjs", "import x from 'y'", False, False),
        ("a.js", "", "import x from 'y'", False, True),
        ("a.js", "", "const x = require('y'); import('z')", False, False),
        ("a.ts", "", "import x from 'y'", True, False),
    ],
)
def test_esm_or_commonjs(
    tmp_path: Path, name: str, kind: str, source: str, with_tsx: bool, esm: bool
) -> None:
    write(tmp_path, {name: source, "package.json": f'{{"type": "{kind}"}}' if kind else "{}"})
    assert is_esm(tmp_path / name, with_tsx=with_tsx) is esm
