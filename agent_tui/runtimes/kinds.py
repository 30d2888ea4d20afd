"""The kinds of agent files (runtimes): one table with what the host knows about each, and how to detect them.

The child's side is in `child/python/process.py`.
"""

import functools
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from agent_tui.model.child import ChildTraits, Failed, Manifest, MemoryMeasure
from agent_tui.model.errors import UserError
from agent_tui.model.events import StartMethod
from agent_tui.runtimes.imports import Import, Resolver, names_in, read_imports

AGENTS_JS = "agents-js"
LIVEKIT_AGENTS = "livekit-agents"
NATIVE = "native"


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of agent file. `sdk` and `package` are for Python; `node/find.py` finds the SDK for Node."""

    traits: ChildTraits
    starts: tuple[StartMethod, ...] = (StartMethod.FORK, StartMethod.TEMPLATE, StartMethod.SPAWN)
    """What `--start-method` accepts."""
    sdk: str = ""
    """The SDK's module, which every process imports; empty for a file without an SDK."""
    package: str = ""
    """The package that provides that module."""
    warm_up: tuple[str, ...] = ()
    """Modules that job processes need in addition."""

    @property
    def sdk_modules(self) -> tuple[str, ...]:
        return (self.sdk,) if self.sdk else ()


KINDS = {
    NATIVE: Kind(ChildTraits(stacks=True, reports_loading=True, memory=MemoryMeasure.RSS)),
    LIVEKIT_AGENTS: Kind(
        ChildTraits(stacks=True, reports_loading=True, memory=MemoryMeasure.PSS, swaps=True),
        sdk="livekit.agents",
        package="livekit-agents",
        warm_up=("livekit.agents.ipc._preload",),
    ),
    AGENTS_JS: Kind(
        ChildTraits(stacks=True, reports_loading=True, memory=MemoryMeasure.RSS, swaps=True),
        starts=(StartMethod.BLANK, StartMethod.SPAWN),
    ),
}


MAX_FILES = 64
"""How many local modules to read when searching for the SDK's import."""

JAVASCRIPT = {".js", ".mjs", ".cjs", ".ts", ".mts", ".cts"}
DOES_NOT_PARSE = ("SyntaxError", "IndentationError", "TabError")
DOES_NOT_IMPORT = ("ImportError", "ModuleNotFoundError")
_SDK = ("livekit.agents", "livekit.plugins")


def detect(file: Path) -> str:
    """Return the runtime of an agent file: `agents-js` by its suffix, `livekit-agents` if it or a local
    module imports that SDK, else `native`. Raise UserError for any other file.
    """
    if os.path.isdir(file):
        raise UserError(f"{file} is a folder; use the agent file in it ({file / 'agent.py'})")
    if not os.path.exists(file):
        raise UserError(f"no such file: {file}; use the path of an agent file (agent.py)")
    if file.suffix.lower() in JAVASCRIPT:
        return AGENTS_JS
    if file.suffix.lower() != ".py":
        raise UserError(
            f"{file} is not an agent file; use one that ends in .py, .js, .mjs, .cjs, .ts, .mts, or .cts"
        )
    return LIVEKIT_AGENTS if any(_is_sdk(each) for each in _all_imports(file)) else NATIVE


def may_be_of_another_kind(result: Manifest | Failed | None, kind: str) -> bool:
    """Return whether the result of a file's load suggests that the file is of another kind now."""
    match result:
        case Manifest(imports=imports):
            others = [each.sdk for name, each in KINDS.items() if each.sdk and name != kind]
            return any(each == sdk or each.startswith(f"{sdk}.") for each in imports for sdk in others)
        case Failed(error=error) if error.startswith(DOES_NOT_PARSE):
            return False
        case Failed(error=error) if KINDS[kind].sdk and error.startswith(DOES_NOT_IMPORT):
            return False  # a misspelled import of the SDK
    return True


def changed_kind(file: Path, before: str) -> str:
    """Return a message if the file is no longer of the kind `before`; empty if it is, or cannot be read.

    It asks for a restart of agent-tui, since interpreter, base, and options were chosen for the old kind.
    """
    try:
        now = detect(file)
    except UserError:
        return ""
    if now == before:
        return ""
    was = f"was a {before} file when agent-tui started"
    return f"{file.name} is a {now} file now, but {was}: restart agent-tui"


def _is_sdk(each: Import) -> bool:
    return not each.level and any(each.module == name or each.module.startswith(f"{name}.") for name in _SDK)


def _all_imports(file: Path) -> Iterator[Import]:
    root = os.path.dirname(os.path.realpath(file))
    resolver = Resolver(functools.cache(names_in))
    waiting, seen = [file], {Path(os.path.realpath(file))}
    while waiting:
        here = waiting.pop(0)
        try:
            imports = read_imports(here)
        except OSError as error:
            if here == file:
                raise UserError(f"{file} cannot be read: {error.strerror or error}") from error
            continue
        for each in imports:
            yield each
            for local in map(Path, map(os.path.realpath, resolver.files(each, str(here), (root,)))):
                if local not in seen and len(seen) < MAX_FILES:
                    seen.add(local)
                    waiting.append(local)
