"""Finds the Python that runs the agent: the first, in a fixed order, that can import what the file needs."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from agent_tui.model.errors import UserError
from agent_tui.model.events import InterpreterChosen
from agent_tui.reading import normalized
from agent_tui.runtimes.imports import When, read_imports
from agent_tui.runtimes.kinds import KINDS

OLDEST = (3, 10)
"""The oldest Python that children run on."""

ASK_LIMIT_S = 20.0

_QUESTION = """
import os, sys
path = sys.path
standard = os.path.dirname(os.path.realpath(os.__file__))
sys.path = [each for each in path if each and os.path.realpath(each).startswith(standard)]
import importlib.util, json  # not the project's modules of these names
sys.path = path
missing = []
for name in json.loads(sys.argv[1]):
    try:
        found = importlib.util.find_spec(name)
    except Exception:
        found = None
    if found is None:
        missing.append(name)
print(json.dumps({"executable": sys.executable, "version": list(sys.version_info[:3]), "missing": missing}))
"""


@dataclass(frozen=True, slots=True)
class Miss:
    """A Python that cannot run the agent, and why."""

    path: Path
    how: str
    reason: str
    missing: tuple[str, ...] = ()
    version: str = ""


@dataclass(frozen=True, slots=True)
class Interpreter:
    """The Python that runs the agent."""

    path: Path
    version: str
    how: str
    misses: tuple[Miss, ...]

    def chosen(self) -> InterpreterChosen:
        """Return the event that reports it."""
        misses = tuple(f"{miss.path} ({miss.how}): {miss.reason}" for miss in self.misses)
        return InterpreterChosen(str(self.path), self.version, self.how, misses)


Ask = Callable[[Path, Sequence[str], Path, Mapping[str, str]], Mapping[str, object]]
"""Queries a Python: path, module names, folder of the file, environment (see `ask_python`)."""


def needs(file: Path, runtime: str) -> tuple[str, ...]:
    """Return the modules without which the file does not load.

    They are top-level names such as `numpy`, except for the SDK, which has its full name (`livekit.agents`).
    """
    try:
        imports = read_imports(file)
    except OSError:
        imports = []  # the file is gone, which its load reports
    names = {each.module.split(".")[0] for each in imports if each.when is When.ALWAYS and not each.level}
    names -= set(sys.stdlib_module_names)
    if sdk := KINDS[runtime].sdk:
        names = (names - {sdk.split(".")[0]}) | {sdk}
    return tuple(sorted(names))


def candidates(
    file: Path, python: str | None, environ: Mapping[str, str], own_prefix: Path
) -> Iterator[tuple[Path, str]]:
    """Yield the Pythons to query and what led to each (`.venv in /home/me`); only `--python` if given."""
    if python:
        yield named("python", python, environ), "--python"
        return
    root = _root(file)
    if (venv := environ.get("VIRTUAL_ENV")) and Path(venv).resolve() != own_prefix.resolve():
        yield Path(venv) / "bin" / "python", "VIRTUAL_ENV"
    if venv := environ.get("UV_PROJECT_ENVIRONMENT"):
        yield root / venv / "bin" / "python", "UV_PROJECT_ENVIRONMENT"
    folder = file.absolute().parent
    for each in (folder, *folder.parents):
        for name in (".venv", "venv"):
            yield each / name / "bin" / "python", f"{name} in {each}"
        if each == root:
            break
    if conda := environ.get("CONDA_PREFIX"):
        yield Path(conda) / "bin" / "python", "CONDA_PREFIX"
    for name in ("python3", "python"):
        if found := shutil.which(name, path=environ.get("PATH", "")):
            yield Path(found), f"{name} on PATH"


def find_interpreter(
    file: Path,
    runtime: str,
    environ: Mapping[str, str],
    python: str | None = None,
    own_prefix: Path | None = None,
    ask: Ask | None = None,
) -> Interpreter:
    """Return the first candidate that can run the file. Blocks. Raise UserError if there is none.

    A candidate without the SDK cannot run the file. Any other missing module may be found when the file runs,
    because it may change `sys.path`. So if every candidate lacks modules, return the one that lacks the
    fewest, and list it in `misses` too.
    """
    wanted = needs(file, runtime)
    misses: list[Miss] = []
    asked: set[Path] = set()
    nearly: list[Miss] = []
    for path, how in candidates(file, python, environ, own_prefix or Path(sys.prefix)):
        if not path.exists():
            if "in /" not in how:
                misses.append(Miss(path, how, "does not exist"))
            continue
        if path in asked:
            continue
        asked.add(path)
        result = _try(path, how, wanted, file, environ, ask or ask_python)
        if not isinstance(result, Miss):
            executable, version = result
            return Interpreter(executable, version, how, tuple(misses))
        misses.append(result)
        if result.missing and KINDS[runtime].sdk not in result.missing:
            nearly.append(result)
    if nearly:
        miss = min(nearly, key=lambda each: len(each.missing))
        return Interpreter(miss.path, miss.version, miss.how, tuple(misses))
    raise UserError(_not_found_message(file, runtime, wanted, misses))


def ask_python(
    path: Path, names: Sequence[str], folder: Path, environ: Mapping[str, str]
) -> Mapping[str, object]:
    """Run a Python, and return its version and which of the modules it lacks.

    Raise OSError if it does not start, and ValueError if it fails or is not Python.
    """
    answer = json_output_of([str(path), "-c", _QUESTION, json.dumps(list(names))], environ, folder)
    if not isinstance(answer, dict):
        raise ValueError("is not Python")
    return answer


def json_output_of(command: Sequence[str], environ: Mapping[str, str], folder: Path | None = None) -> object:
    """Run a command in a folder, and return its last line of output, parsed as JSON.

    Raise OSError if it does not start, and ValueError if it fails, prints no JSON, or takes too long.
    """
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            env=dict(environ),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=ASK_LIMIT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise ValueError(f"did not answer within {ASK_LIMIT_S:g} s") from None
    if done.returncode:
        last = done.stderr.decode("utf-8", "replace").strip().splitlines()
        raise ValueError(f"exited with code {done.returncode}" + (f": {last[-1]}" if last else ""))
    lines = done.stdout.splitlines()
    try:
        answer: object = json.loads(lines[-1] if lines else b"")
    except ValueError:
        raise ValueError("printed no JSON") from None
    return answer


def _try(
    path: Path, how: str, wanted: tuple[str, ...], file: Path, environ: Mapping[str, str], ask: Ask
) -> Miss | tuple[Path, str]:
    try:
        answer = ask(path, wanted, file.resolve().parent, environ)
        version = tuple(int(each) for each in answer["version"])  # type: ignore[attr-defined]
        missing = tuple(str(each) for each in answer["missing"])  # type: ignore[attr-defined]
    except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
        return Miss(path, how, f"failed to run: {error}")
    shown = ".".join(map(str, version))
    if version[:2] < OLDEST:
        return Miss(path, how, f"is Python {shown}, but 3.10 or later is needed")
    if missing:
        return Miss(path, how, f"lacks {', '.join(missing)}", missing, shown)
    executable = Path(str(answer.get("executable") or path))
    return (executable if executable.exists() else path), shown


def named(program: str, given: str, environ: Mapping[str, str]) -> Path:
    """Return what `--python` or `--node` names: a path, an installation's folder, or a command on PATH.

    `program` is `python` or `node`. Raise UserError if there is no such command.
    """
    path = Path(given).expanduser()
    if path.is_dir():
        return normalized(path) / "bin" / program
    if path.exists() or "/" in given:
        return normalized(path)
    found = shutil.which(given, path=environ.get("PATH", ""))
    if found is None:
        raise UserError(f"--{program} {given}: no such file, and no such command on PATH; use a path")
    return Path(found)


def _root(file: Path) -> Path:
    """Return the repository's root: the nearest folder upwards with .git, else with pyproject.toml, else the
    file's.
    """
    folder = file.absolute().parent
    for mark in (".git", "pyproject.toml"):
        for each in (folder, *folder.parents):
            if (each / mark).exists():
                return each
    return folder


def _not_found_message(file: Path, runtime: str, wanted: tuple[str, ...], misses: Sequence[Miss]) -> str:
    tried = "; ".join(f"{miss.path} ({miss.how}) {miss.reason}" for miss in misses) or "no Python was found"
    fewest = min((miss.missing for miss in misses if miss.missing), key=len, default=wanted)
    kind = KINDS[runtime]
    install = " ".join(kind.package if name == kind.sdk else name for name in fewest)
    advice = (
        f"install {install} into one of them, or choose another with --python" if install else "use --python"
    )
    return f"no Python can run {file} ({runtime}): {tried}; {advice}"
