"""Environment files: which are read, in which order, and where each variable came from."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from dotenv.main import DotEnv
from dotenv.parser import parse_stream

from agent_tui.options.resolve import Given

NAMES = (".env.local", ".env")
ROOT_MARKS = ("pyproject.toml", "package.json", ".git")

_SAYS_SECRET = re.compile(r"(?:.*_)?(?:KEY|SECRET|TOKEN|PASSWORD)", re.IGNORECASE)
_WORDS = re.compile(r"(?:[a-z]+[-_. ]?){1,4}")
LONGEST_WORDS = 15
"""Up to so many lower-case letters are taken for words (`SORT_KEY=created_at`), which logs are full of."""


@dataclass(frozen=True, slots=True)
class Environment:
    """What files and the process's environment set, with their sources.

    Children get the variables; options are read from variables and `config`. `problems` are lines for people
    about files that could not be read or parsed; with a `config_problem` no options can be told.
    """

    variables: Mapping[str, Given]
    files: tuple[Path, ...]
    problems: tuple[str, ...]
    config: Mapping[str, Given] = field(default_factory=dict)
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
    for folder in agent_file.resolve().parents:
        if any((folder / mark).exists() for mark in ROOT_MARKS):
            return folder
    return None


def near(path: Path, cwd: Path) -> Path:
    """The path as somebody in the working folder would write it."""
    return path.relative_to(cwd) if path.is_relative_to(cwd) else path


def env_files(agent_file: Path, cwd: Path) -> Iterator[Path]:
    """The files in falling precedence: the agent's folder, the project's root, the working folder."""
    seen: set[Path] = set()
    for folder in (agent_file.resolve().parent, project_root(agent_file), cwd.resolve()):
        if folder is None or folder in seen:
            continue
        seen.add(folder)
        for name in NAMES:
            if (folder / name).is_file():
                yield folder / name


def read_environment(agent_file: Path, cwd: Path, environ: Mapping[str, str]) -> Environment:
    """The process's environment with the files' variables below it; the first file to name one wins."""
    variables = {name: Given(value, f"{name} in the environment") for name, value in environ.items()}
    files: list[Path] = []
    problems: list[str] = []
    secrets: set[str] = set()
    for path in env_files(agent_file, cwd):
        try:
            lines = _line_numbers(path, problems)
            # Without override, ${NAME} means the environment first, as in `load_dotenv()`.
            values = DotEnv(path, encoding="utf-8", override=False).dict()
        except (OSError, UnicodeDecodeError) as error:
            problems.append(f"{path} cannot be read: {error}; its variables are not set")
            continue
        files.append(path)
        for name, value in values.items():
            if _SAYS_SECRET.fullmatch(name):
                secrets.update(each for each in (value, environ.get(name)) if each and not _is_words(each))
            if value is not None and name not in variables:
                variables[name] = Given(value, f"{name} in {near(path, cwd)}:{lines.get(name, 1)}")
    return Environment(variables, tuple(files), tuple(problems), secrets=frozenset(secrets))


def _is_words(value: str) -> bool:
    return len(value) <= LONGEST_WORDS and _WORDS.fullmatch(value) is not None


def _line_numbers(path: Path, problems: list[str]) -> dict[str, int]:
    lines: dict[str, int] = {}
    with path.open(encoding="utf-8") as stream:
        for binding in parse_stream(stream):
            if binding.error:
                problems.append(f"{path}:{binding.original.line} is not NAME=value; the line is passed over")
            elif binding.key is not None:
                text = binding.original.string
                leading = len(text) - len(text.lstrip("\n"))
                lines[binding.key] = binding.original.line + leading
    return lines
