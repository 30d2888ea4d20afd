"""Environment files: which ones are read, in which order, and where each variable came from."""

import io
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from dotenv.parser import parse_stream

from agent_tui.options.prices import Prices
from agent_tui.options.resolve import SourcedValue
from agent_tui.reading import Pipes, is_pipe, read_file

NAMES = (".env.local", ".env")
ROOT_MARKS = ("pyproject.toml", "package.json", ".git")

_SAYS_SECRET = re.compile(r"(?:.*_)?(?:KEY|SECRET|TOKEN|PASSWORD)", re.IGNORECASE)
_WORDS = re.compile(r"(?:[a-z]+[-_. ]?){1,4}")
MAX_WORDS_LENGTH = 15
"""Values up to this length that look like words (`SORT_KEY=created_at`) are not masked: logs have many."""

MAX_BYTES = 2**18
"""The largest environment file, in bytes.

The variables of all files must fit into a process's environment, which Linux limits to 2 MiB.
"""

LONGEST = 128 * 1024 - 1
"""Maximum number of bytes of `NAME=value` that the kernel accepts (MAX_ARG_STRLEN)."""

MAX_BLANKS = 1000
"""Maximum number of blanks in a row. The time that the parser needs grows with the square of their number."""

MAX_PROBLEMS = 10
"""Maximum number of problems that are listed for one file. The rest are only counted."""

_BLANKS = re.compile(r"[^\S\r\n]++")


@dataclass(frozen=True, slots=True)
class FileProblem:
    """What is wrong with an environment file, in one line. `file` is None if it should not be edited."""

    text: str
    file: Path | None
    line: int | None = None


@dataclass(frozen=True, slots=True)
class Environment:
    """The values of the process's environment, environment files, and the config file, with their sources.

    Child processes get the variables. Options come from the variables and from `config`. `problems` are
    about environment files that cannot be read or parsed. `config_problem` says why the config file cannot be
    used; the options are then unknown.
    """

    variables: Mapping[str, SourcedValue]
    files: tuple[Path, ...]
    problems: tuple[FileProblem, ...]
    config: Mapping[str, SourcedValue] = field(default_factory=dict)
    config_file: Path | None = None
    config_problem: str = ""
    screen: Mapping[str, object] = field(default_factory=dict)
    """The config file's table `[screen]`, unchecked: the screen checks it."""
    allow_remote: tuple[str, ...] = ()
    """The config file's `allowRemote`: hosts on which test jobs may run without a question, in lower case."""
    prices: Prices = field(default_factory=dict)
    """The config file's table `[prices]`: what models cost."""
    secrets: frozenset[str] = frozenset()
    """The values of variables that a file sets and whose names end like those of secrets, such as `…_KEY`. If
    the process's environment sets such a variable too, both values are included.
    """

    @property
    def plain(self) -> dict[str, str]:
        """The variables by name, in the form in which a new process gets them."""
        return {name: str(given.raw) for name, given in self.variables.items()}


def project_root(agent_file: Path) -> Path | None:
    """Return the nearest folder, from the file's own upward, that has a `.git` or another of `ROOT_MARKS`.

    Return None if there is none.
    """
    for folder in (agent_folder(agent_file), *agent_folder(agent_file).parents):
        if any(os.path.exists(folder / mark) for mark in ROOT_MARKS):  # noqa: PTH110  it raises for some
            return folder
    return None


def agent_folder(agent_file: Path) -> Path:
    """Return the folder from which the agent file imports. For a link, that is the folder of its target."""
    return Path(os.path.realpath(agent_file)).parent


def relative_path(path: Path, cwd: Path) -> Path:
    """Return the path relative to the working directory, or unchanged if it is not below that."""
    return path.relative_to(cwd) if path.is_relative_to(cwd) else path


def env_files(agent_file: Path, cwd: Path) -> Iterator[Path]:
    """Yield the environment files in the agent's folder, the project's root, and the working directory.

    If files set the same variable, the one that comes first wins. Folders named `.env` are skipped, because
    they are virtual environments.
    """
    seen: set[Path] = set()
    for folder in (agent_folder(agent_file), project_root(agent_file), cwd.resolve()):
        if folder is None or folder in seen:
            continue
        seen.add(folder)
        for name in NAMES:
            path = folder / name
            if os.path.lexists(path) and not os.path.isdir(path):  # noqa: PTH112
                yield path


def read_environment(
    agent_file: Path, cwd: Path, environ: Mapping[str, str], pipes: Pipes | None = None
) -> Environment:
    """Return the process's environment, and in addition the variables that only environment files set.

    If several files set a variable, the first one wins. Blocks while it reads, for at most the time limit
    set in `pipes`.
    """
    variables = {name: SourcedValue(value, f"{name} in the environment") for name, value in environ.items()}
    files: list[Path] = []
    problems: list[FileProblem] = []
    secrets: set[str] = set()
    pipes = pipes or Pipes()
    for path in env_files(agent_file, cwd):
        found: list[FileProblem] = []
        try:
            values = _read(path, relative_path(path, cwd), environ, pipes, found)
        except Exception as error:  # no environment file, however broken, may end agent-tui
            why = (error.strerror if isinstance(error, OSError) else None) or str(error)
            text = f"cannot read {relative_path(path, cwd)}: {why}; its variables are not set"
            problems.append(FileProblem(text, path))
            continue
        problems += found[:MAX_PROBLEMS]
        if len(found) > MAX_PROBLEMS:
            text = f"{relative_path(path, cwd)}: {len(found) - MAX_PROBLEMS} more problems like these"
            problems.append(FileProblem(text, path, found[MAX_PROBLEMS].line))
        files.append(path)
        for name, (value, line) in values.items():
            if _SAYS_SECRET.fullmatch(name):
                secrets.update(each for each in (value, environ.get(name)) if each and not _is_words(each))
            if value is not None and name not in variables:
                variables[name] = SourcedValue(value, f"{name} in {relative_path(path, cwd)}:{line}")
    return Environment(variables, tuple(files), tuple(problems), secrets=frozenset(secrets))


def _is_words(value: str) -> bool:
    return len(value) <= MAX_WORDS_LENGTH and _WORDS.fullmatch(value) is not None


def _read(
    path: Path, shown: Path, environ: Mapping[str, str], pipes: Pipes, problems: list[FileProblem]
) -> dict[str, tuple[str | None, int]]:
    """Return each variable's value and line, as `load_dotenv()` reads them. Append to `problems`.

    Raise OSError if the file cannot be read, and ValueError if it is not text or has too many blanks in a
    row.
    """
    if is_pipe(path):
        content, notice = pipes.read(path, MAX_BYTES)
        problems.append(FileProblem(notice, None))
    else:
        content = read_file(path, MAX_BYTES)
    text = io.TextIOWrapper(io.BytesIO(content), encoding="utf-8").read()  # accepts any line ending
    if any(len(match[0]) > MAX_BLANKS for match in _BLANKS.finditer(text)):
        raise ValueError(f"more than {MAX_BLANKS} spaces in a row")
    values: dict[str, tuple[str | None, int]] = {}
    plain: dict[str, str | None] = {}
    for binding in parse_stream(io.StringIO(text)):
        string = binding.original.string
        line = binding.original.line + len(string) - len(string.lstrip("\n"))  # it starts with blank lines
        if binding.error:
            text = f"{shown}:{line} is not NAME=value; the line is ignored"
            problems.append(FileProblem(text, path, line))
        elif binding.key is not None:
            problem, value = _usable(binding.key, binding.value, environ, plain)
            if problem:
                text = f"{shown}:{line}: {problem}; the variable is not set"
                problems.append(FileProblem(text, path, line))
                continue
            plain[binding.key] = value
            values[binding.key] = value, line
    return values


def _usable(
    name: str, value: str | None, environ: Mapping[str, str], before: Mapping[str, str | None]
) -> tuple[str, str | None]:
    """Return why the variable cannot be set (empty if it can), and its value with `${NAME}` replaced."""
    value = None if value is None else _expanded(value, environ, before)
    if "\0" in name or (value is not None and "\0" in value):
        shown = name.replace("\0", "\u2400")
        return f"{shown} contains a NUL character; remove it", None
    if value is not None and len(f"{name}={value}".encode()) > LONGEST:
        return f"{name} is longer than {LONGEST} bytes, the limit of an environment variable", None
    return "", value


def _expanded(text: str, environ: Mapping[str, str], before: Mapping[str, str | None]) -> str:
    """Return the text with `${NAME}` and `${NAME:-default}` replaced.

    The process's environment wins over earlier lines of the file (`before`). Stop after `LONGEST` bytes: 40
    lines that each repeat the value of the previous one twice would make terabytes.
    """
    out: list[str] = []
    at = length = 0
    end = colon = -1  # each search continues where it ended, so that one pass is enough
    while (start := text.find("${", at)) >= 0 and length <= LONGEST:
        end = text.find("}", start) if end < start else end
        if end < 0:
            break
        if colon < start:
            colon = text.find(":", start)
            colon = len(text) if colon < 0 else colon
        out.append(text[at:start])
        if colon < end and text[colon : colon + 2] != ":-":
            out.append("${")  # not a reference
            at = start + 2
            continue
        name = text[start + 2 : min(colon, end)]
        value = environ[name] if name in environ else before.get(name, text[colon + 2 : end])
        out.append(value or "")
        length += len(out[-1])
        at = end + 1
    return "".join([*out, text[at:]])
