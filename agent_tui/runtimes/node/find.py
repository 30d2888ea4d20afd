"""Finds what runs an agents-js file: Node, the project's copy of the SDK, and tsx or flags for TypeScript."""

import json
import os
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from msgspec import structs

from agent_tui.model.errors import UserError
from agent_tui.model.events import InterpreterChosen
from agent_tui.runtimes.interpreter import Interpreter, Miss, json_output_of, named

OLDEST_NODE = 20
OLDEST_SDK = (1, 5)
PACKAGE = "@livekit/agents"
STRIPS_SINCE = (22, 7)
"""From this version on, Node can strip types and transform enums (`--experimental-transform-types`)."""

TYPE_STRIPPING = "Node's type stripping"

MOST_BYTES = 2**20
"""Maximum number of bytes of a package.json that are read."""

_QUESTION = "console.log(JSON.stringify([process.versions.node, process.execPath]))"
_HAS_IMPORTS = re.compile(rb"^\s*(import\b(?!\s*\()|export\b)", re.MULTILINE)

Ask = Callable[[Path, Mapping[str, str]], tuple[str, Path]]
"""Queries a Node for its version and real path (`ask_node`)."""


@dataclass(frozen=True, slots=True)
class NodeInterpreter(Interpreter):
    """The Node interpreter for an agent, with the SDK package, tsx, and Node flags to use."""

    package: Path = Path()
    """The folder of the SDK that the agent's file imports, symlinks resolved."""
    sdk_version: str = ""
    is_esm: bool = True
    """Whether the agent's file is an ES module; else it requires the SDK's CommonJS build."""
    tsx: Path | None = None
    """The project's tsx, for a TypeScript file."""
    flags: tuple[str, ...] = ()
    """Node's flags, for a TypeScript file without tsx."""

    @property
    def typescript(self) -> str:
        """What runs TypeScript: `tsx`, `strip` (Node itself), or nothing."""
        return "tsx" if self.tsx else "strip" if self.flags else ""

    def chosen(self) -> InterpreterChosen:
        build = "ESM" if self.is_esm else "CommonJS"
        return structs.replace(
            Interpreter.chosen(self),
            language="Node",
            package=f"{PACKAGE} {self.sdk_version} in {self.package} ({build})",
            typescript=f"tsx in {self.tsx.parent.parent}" if self.tsx else TYPE_STRIPPING * bool(self.flags),
        )


def find_node(
    file: Path, environ: Mapping[str, str], node: str | None = None, ask: Ask | None = None
) -> NodeInterpreter:
    """Return the first Node that can run the file, with the SDK and the flags that it needs. Blocks.

    Raise UserError if there is no usable Node, SDK, or way to run TypeScript.
    """
    real = Path(os.path.realpath(file))
    find_package(real)
    misses: list[Miss] = []
    asked: set[Path] = set()
    for path, how in candidates(real, node, environ):
        if not path.exists():
            misses.append(Miss(path, how, "does not exist"))
            continue
        target = Path(os.path.realpath(path))
        if target in asked and how != "volta":  # Volta's shims are one file
            continue
        asked.add(target)
        try:
            version, executable = (ask or ask_node)(path, environ)
            numbers = tuple(int(each) for each in version.split(".")[:2])
        except (OSError, ValueError, TypeError) as error:
            misses.append(Miss(path, how, f"failed to run: {error}"))
            continue
        if numbers[0] < OLDEST_NODE:
            reason = f"is Node {version}, but {OLDEST_NODE} or later is needed"
            misses.append(Miss(path, how, reason))
            continue
        return with_packages(NodeInterpreter(executable, version, how, tuple(misses)), real)
    tried = "; ".join(f"{miss.path} ({miss.how}) {miss.reason}" for miss in misses) or "no Node was found"
    advice = f"install Node {OLDEST_NODE} or later, or choose one with --node"
    raise UserError(f"no Node can run {file}: {tried}; {advice}")


def with_packages(node: NodeInterpreter, file: Path) -> NodeInterpreter:
    """Return the Node with the SDK and tsx that are now installed for the file (links resolved).

    Raise UserError if the SDK is missing or too old, or if this Node cannot run TypeScript.
    """
    package, sdk_version = find_package(file)
    numbers = tuple(int(each) for each in node.version.split(".")[:2])
    tsx, flags = find_typescript(file, numbers, node.version)
    kind = is_esm(file, with_tsx=tsx is not None)
    return replace(node, package=package, sdk_version=sdk_version, is_esm=kind, tsx=tsx, flags=flags)


# -- Node -------------------------------------------------------------------------------------------------


def candidates(file: Path, node: str | None, environ: Mapping[str, str]) -> Iterator[tuple[Path, str]]:
    """Yield the Nodes to query, in order; only `--node` if given. The symlinks of `file` must be resolved."""
    if node:
        yield (named("node", node, environ), "--node")
        return
    home = Path(environ["HOME"]) if environ.get("HOME") else None
    yield from _nvm(file, environ, home)
    volta = Path(environ["VOLTA_HOME"]) if environ.get("VOLTA_HOME") else home and home / ".volta"
    if volta and (volta / "bin" / "node").exists():
        yield (volta / "bin" / "node", "volta")
    yield from _fnm(file, environ, home)
    if found := shutil.which("node", path=environ.get("PATH", "")):
        yield (Path(found), "node on PATH")


def _nvm(file: Path, environ: Mapping[str, str], home: Path | None) -> Iterator[tuple[Path, str]]:
    folder = Path(environ["NVM_DIR"]) if environ.get("NVM_DIR") else home and home / ".nvm"
    if not folder or not folder.is_dir():
        return
    wanted, where = _wanted(file)
    if not wanted:
        wanted, where = _first_line(folder / "alias" / "default"), "default"
    for _ in range(5):  # an alias may name another alias
        named = _first_line(folder / "alias" / wanted) if wanted else ""
        if not named:
            break
        wanted = named
    found = _newest(folder / "versions" / "node", wanted)
    if found is not None:
        yield (found / "bin" / "node", f"nvm, {where}" if wanted else "nvm, the newest")
    elif wanted:
        yield (folder / "versions" / "node" / f"v{wanted.lstrip('v')}", f"nvm, {where}")


def _fnm(file: Path, environ: Mapping[str, str], home: Path | None) -> Iterator[tuple[Path, str]]:
    if shell := environ.get("FNM_MULTISHELL_PATH"):
        yield (Path(shell) / "bin" / "node", "fnm, this shell")
    data = environ.get("XDG_DATA_HOME") or (str(home / ".local" / "share") if home else "")
    folder = Path(environ.get("FNM_DIR") or (f"{data}/fnm" if data else ""))
    if not folder.name or not folder.is_dir():
        return
    wanted, where = _wanted(file)
    found = _newest(folder / "node-versions", wanted) if wanted else None
    if found is not None:
        yield (found / "installation" / "bin" / "node", f"fnm, {where}")
    elif (folder / "aliases" / "default").exists():
        yield (folder / "aliases" / "default" / "bin" / "node", "fnm, default")


def _wanted(file: Path) -> tuple[str, str]:
    """Return the version that the project names, and the file that names it."""
    for folder in file.parents:
        for name in (".nvmrc", ".node-version"):
            if version := _first_line(folder / name):
                return version, name
    return "", ""


def _first_line(path: Path) -> str:
    try:
        if not path.is_file():
            return ""
        return path.read_text(encoding="utf-8").split("\n")[0].split("#")[0].strip()
    except (OSError, ValueError):
        return ""


def _newest(folder: Path, wanted: str) -> Path | None:
    """Return the newest installed version that starts with the wanted one (`22`, `v20.11`)."""
    try:
        installed = [each for each in folder.iterdir() if re.fullmatch(r"v\d+(\.\d+)*", each.name)]
    except OSError:
        return None
    parts = wanted.lstrip("v").split(".") if re.fullmatch(r"v?\d+(\.\d+)*", wanted) else []
    fitting = [each for each in installed if each.name[1:].split(".")[: len(parts)] == parts]
    return max(fitting, key=lambda each: [int(n) for n in each.name[1:].split(".")], default=None)


def ask_node(path: Path, environ: Mapping[str, str]) -> tuple[str, Path]:
    """Run a Node binary, and return its version and real path.

    Raise OSError if it does not start, and ValueError if it fails or is not Node.
    """
    plain = {name: value for name, value in environ.items() if name != "NODE_OPTIONS"}
    answer = json_output_of([str(path), "-e", _QUESTION], plain)
    if not isinstance(answer, list) or len(answer) != 2:
        raise ValueError("is not Node")
    version, executable = answer
    return str(version), Path(str(executable))


# -- the SDK ----------------------------------------------------------------------------------------------


def find_package(file: Path) -> tuple[Path, str]:
    """Return the SDK's folder, found as Node finds it, and its version.

    Raise UserError if there is none, or if it is too old.
    """
    folder = _package(file, PACKAGE)
    if folder is None:
        if any((each / ".pnp.cjs").exists() for each in file.parents):
            why = "Yarn's Plug'n'Play is not supported: set nodeLinker: node-modules in .yarnrc.yml"
            raise UserError(f"{file} needs {PACKAGE}: {why}, and run yarn install")
        raise UserError(
            f"{file} needs {PACKAGE}, which is not installed: run npm install {PACKAGE} in {_home(file)}"
        )
    version = str(_read_json(folder / "package.json").get("version", ""))
    numbers = tuple(int(each) for each in re.findall(r"\d+", version)[:2])
    if numbers < OLDEST_SDK:
        oldest = ".".join(map(str, OLDEST_SDK))
        raise UserError(
            f"{PACKAGE} {version} in {folder} is too old, {oldest} or later is needed: "
            f"run npm install {PACKAGE}@latest in {_home(file)}"
        )
    return folder, version


def find_typescript(file: Path, node: tuple[int, ...], version: str) -> tuple[Path | None, tuple[str, ...]]:
    """Return the project's tsx, or, without it, Node's flags for TypeScript. For JavaScript, return neither.

    Raise UserError if there is no tsx and this Node cannot run TypeScript.
    """
    if file.suffix.lower() not in (".ts", ".mts", ".cts"):
        return None, ()
    if (tsx := _package(file, "tsx")) is not None:
        main = _read_json(tsx / "package.json").get("exports", {})
        loader = main.get(".") if isinstance(main, dict) else None
        return tsx / (loader if isinstance(loader, str) else "dist/loader.mjs"), ()
    if node >= STRIPS_SINCE:
        flags = ["--experimental-transform-types", "--disable-warning=ExperimentalWarning"]
        return None, tuple(flags)
    raise UserError(
        f"{file} is TypeScript, which Node {version} cannot run: run npm install --save-dev tsx in "
        f"{_home(file)}, or choose Node 22.7 or later with --node"
    )


def is_esm(file: Path, *, with_tsx: bool = False) -> bool:
    """Return whether Node treats the file as an ES module."""
    suffix = file.suffix.lower()
    if suffix in (".mjs", ".mts"):
        return True
    if suffix in (".cjs", ".cts"):
        return False
    for folder in file.parents:
        if (folder / "package.json").is_file():
            kind = _read_json(folder / "package.json").get("type")
            if kind is not None:
                return kind == "module"
            break
    if with_tsx:
        return False
    try:  # Node also checks for import and export
        return _HAS_IMPORTS.search(file.read_bytes()) is not None
    except OSError:
        return True


def _package(file: Path, name: str) -> Path | None:
    for folder in file.parents:
        found = folder / "node_modules" / name
        if (found / "package.json").is_file():
            return Path(os.path.realpath(found))
    return None


def _home(file: Path) -> Path:
    """Return the folder in which to install a package for the file."""
    return next((each for each in file.parents if (each / "package.json").is_file()), file.parent)


def _read_json(path: Path) -> Mapping[str, object]:
    try:
        with path.open("rb") as stream:
            content = json.loads(stream.read(MOST_BYTES))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}
