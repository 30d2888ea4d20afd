"""Environment files: which are read, in which order, and where each variable came from."""

import io
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from dotenv.parser import parse_stream

from agent_tui.options.resolve import SourcedValue
from agent_tui.reading import Pipes, is_pipe, read_file

NAMES = (".env.local", ".env")
ROOT_MARKS = ("pyproject.toml", "package.json", ".git")

_SAYS_SECRET = re.compile(r"(?:.*_)?(?:KEY|SECRET|TOKEN|PASSWORD)", re.IGNORECASE)
_WORDS = re.compile(r"(?:[a-z]+[-_. ]?){1,4}")
LONGEST_WORDS = 15
"""Up to so many lower-case letters are taken for words (`SORT_KEY=created_at`), which logs are full of."""

MOST_BYTES = 2**18
"""Of an environment file: all of them must fit into one process's environment, 2 MiB on Linux."""

LONGEST = 128 * 1024 - 1
"""Bytes of `NAME=value`: the kernel takes no longer one (MAX_ARG_STRLEN)."""

MOST_BLANKS = 1000
"""In a row. The parser's time grows with their square."""

MOST_PROBLEMS = 10
"""Of one file; then their number is enough."""

_BLANKS = re.compile(r"[^\S\r\n]++")


@dataclass(frozen=True, slots=True)
class Environment:
    """What files and the process's environment set, with their sources.

    Children get the variables; options are read from variables and `config`. `problems` are lines for people
    about files that could not be read or parsed; with a `config_problem` no options can be told.
    """

    variables: Mapping[str, SourcedValue]
    files: tuple[Path, ...]
    problems: tuple[str, ...]
    config: Mapping[str, SourcedValue] = field(default_factory=dict)
    config_file: Path | None = None
    config_problem: str = ""
    screen: Mapping[str, object] = field(default_factory=dict)
    """The config file's table `[screen]`, as it stands there: only the screen knows what may be in it."""
    secrets: frozenset[str] = frozenset()
    """Values of variables that the files set and whose names say secret; also what the process's environment
    gives them instead."""

    @property
    def plain(self) -> dict[str, str]:
        """As a process's environment."""
        return {name: str(given.raw) for name, given in self.variables.items()}


def project_root(agent_file: Path) -> Path | None:
    """The nearest folder at or above the file that is marked as a project's root."""
    for folder in (agent_folder(agent_file), *agent_folder(agent_file).parents):
        if any(os.path.exists(folder / mark) for mark in ROOT_MARKS):  # noqa: PTH110  it raises for some
            return folder
    return None


def agent_folder(agent_file: Path) -> Path:
    """The folder from which the file imports: that of the file itself, not of a link to it."""
    return Path(os.path.realpath(agent_file)).parent


def near(path: Path, cwd: Path) -> Path:
    """The path as somebody in the working folder would write it."""
    return path.relative_to(cwd) if path.is_relative_to(cwd) else path


def env_files(agent_file: Path, cwd: Path) -> Iterator[Path]:
    """The files in falling precedence: the agent's folder, the project's root, the working folder.

    Whatever is there under their names, but for folders: virtual environments have that name, too.
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
    """The process's environment with the files' variables below it; the first file to name one wins.

    Blocks for as long as the file system and `pipes` do.
    """
    variables = {name: SourcedValue(value, f"{name} in the environment") for name, value in environ.items()}
    files: list[Path] = []
    problems: list[str] = []
    secrets: set[str] = set()
    pipes = pipes or Pipes()
    for path in env_files(agent_file, cwd):
        found: list[str] = []
        try:
            values = _read(path, environ, pipes, found)
        except Exception as error:  # whatever is wrong with it, it is no reason to end
            problems.append(f"{path} cannot be read: {error}; its variables are not set")
            continue
        problems += found[:MOST_PROBLEMS]
        if len(found) > MOST_PROBLEMS:
            problems.append(f"{path} has {len(found) - MOST_PROBLEMS} more lines like these")
        files.append(path)
        for name, (value, line) in values.items():
            if _SAYS_SECRET.fullmatch(name):
                secrets.update(each for each in (value, environ.get(name)) if each and not _is_words(each))
            if value is not None and name not in variables:
                variables[name] = SourcedValue(value, f"{name} in {near(path, cwd)}:{line}")
    return Environment(variables, tuple(files), tuple(problems), secrets=frozenset(secrets))


def _is_words(value: str) -> bool:
    return len(value) <= LONGEST_WORDS and _WORDS.fullmatch(value) is not None


def _read(
    path: Path, environ: Mapping[str, str], pipes: Pipes, problems: list[str]
) -> dict[str, tuple[str | None, int]]:
    """Values and lines by name, as `load_dotenv()` finds them. Raises OSError or ValueError."""
    if is_pipe(path):
        content, notice = pipes.read(path, MOST_BYTES)
        problems.append(notice)
    else:
        content = read_file(path, MOST_BYTES)
    text = io.TextIOWrapper(io.BytesIO(content), encoding="utf-8").read()  # any line ending is one
    if any(len(match[0]) > MOST_BLANKS for match in _BLANKS.finditer(text)):
        raise ValueError(f"it has more than {MOST_BLANKS} blanks in a row")
    values: dict[str, tuple[str | None, int]] = {}
    plain: dict[str, str | None] = {}
    for binding in parse_stream(io.StringIO(text)):
        line = binding.original.line
        if binding.error:
            problems.append(f"{path}:{line} is not NAME=value; the line is ignored")
        elif binding.key is not None:
            string = binding.original.string
            line += len(string) - len(string.lstrip("\n"))
            problem, value = _usable(binding.key, binding.value, environ, plain)
            if problem:
                problems.append(f"{path}:{line}: {problem}; the variable is not set")
                continue
            plain[binding.key] = value
            values[binding.key] = value, line
    return values


def _usable(
    name: str, value: str | None, environ: Mapping[str, str], before: Mapping[str, str | None]
) -> tuple[str, str | None]:
    """Why a variable cannot be set, else empty, and its value with `${NAME}` replaced."""
    value = None if value is None else _expanded(value, environ, before)
    if "\0" in name or (value is not None and "\0" in value):
        shown = name.replace("\0", "\u2400")
        return f"{shown} contains a NUL character, which no environment variable can; remove it", None
    if value is not None and len(f"{name}={value}".encode()) > LONGEST:
        return f"{name} is longer than {LONGEST} bytes, the most that an environment variable can hold", None
    return "", value


def _expanded(text: str, environ: Mapping[str, str], before: Mapping[str, str | None]) -> str:
    """The text with `${NAME}` and `${NAME:-default}` replaced; the environment's values come first.

    Stops beyond `LONGEST`: each of 40 lines may double the one before it.
    """
    out: list[str] = []
    at = length = 0
    end = colon = -1  # each is searched on from where it was, so that all of it takes one pass
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
