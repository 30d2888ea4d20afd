"""Texts that people read use none of the phrases below: each has a plainer equivalent.

The pages are checked, and every string of the package, docstrings included. Identifiers are not: public names
such as the JSON field `passed_over` stay. `python -m tests.test_words` prints each hit with its line.
"""

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

PHRASES = {
    r"in good order": "gracefully",
    r"anew|afresh|again from the start": "restart, reload, retry",
    r"mend(s|ed|ing)?": "fix",
    r"pass(ed|es|ing)? over": "ignored, skipped",
    r"told|tells|hears|heard": "reports, emits, is notified, logs",
    r"whoever|nobody|somebody|who waits": "the name of the thing",
    r"(that|what) (is|are) there|is there already|those that count": "the noun; exists",
    r"of (one's|its|our|their|your) own": "custom; its own X; internal",
    r"com(e|es|ing) to (be|no job)|came to be": "starts; no job starts",
    r"so new|as by then|meanwhile": "the time, or nothing",
    r"(is|are|was|were) over(?=[.,;:)!?]| (and|or|but)\b|$)": "done, finished, ended",
    r"under way": "running, starting",
    r"(?-i:[Bb]eg(ins?|an|un))": "start",
    r"reckon(s|ed|ing)?": "uses, takes into account",
    r"(giv(e|es|en|ing)|gave) up": "cancelled, abandoned",
    r"any free one|(is|are) taken": "accepted; a free port will be picked",
    r"looked (for|at)": "searched, checked",
    r"one more idle|one less|less (idle|warm)|more warm\b(?! process)": "more / fewer warm processes",
    r"gives a job": "job type",
    r"tried again": "retrying in 3 s",
    r"ended by signal": "killed by SIGSEGV",
    r"its entry function raised": "entry function raised KeyError",
    r"no real rooms": "embedded server: no audio",
    r"killed in": "forced stop in 1 h 6 min",
    r"none of \S+ lines is shown": "2 lines hidden by the level filter (info)",
    r"what (becomes|became) of": "what happened to; the verb",
    r"in vain": "without success",
    r"for ever": "forever",
    r"shall|whom|thereof|therein|whence": "will; who; the noun",
    r"(?-i:the tab (Talk|Job|Logs|Memory|Stacks|Options))": "the Talk tab",
    r"rows that contain a text|find a text": "contains the text you type; find text",
    r"time-outs?": "timeout",
    r"in force": "in effect",
    r"lines? of figures": "waterfall",
    r"line (in which you|to) type": "input line",
    r"can be called again": "calling it more than once is safe",
}
"""Regular expressions, matched as whole words in any case, and what to write in place of each."""

_FIND = re.compile(
    "|".join(rf"\b(?:{phrase})(?!\w)".replace(" ", r"\s+") for phrase in PHRASES),
    re.IGNORECASE | re.MULTILINE,
)

_JS_TOKEN = re.compile(
    r"""//[^\n]* | /\*.*?\*/ | '(?:\\.|[^'\\\n])*' | "(?:\\.|[^"\\\n])*" | `(?:\\.|[^`\\])*`""",
    re.VERBOSE | re.DOTALL,
)

PAGES = sorted(
    [*ROOT.glob("docs/*.md"), *(ROOT / f"{name}.md" for name in ("README", "CONTRIBUTING", "CHANGELOG"))]
)
SOURCES = sorted(
    each for pattern in ("*.py", "*.mjs", "*.cjs") for each in ROOT.glob(f"agent_tui/**/{pattern}")
)


def hits(path: Path) -> Iterator[tuple[int, str]]:
    """The line and the text of each phrase in a file that people read."""
    for line, text in texts(path):
        for found in _FIND.finditer(text):
            yield line + text.count("\n", 0, found.start()), " ".join(found.group().split())


def texts(path: Path) -> Iterator[tuple[int, str]]:
    """The strings of a file of code, each with its first line; a page as a whole."""
    content = path.read_text(encoding="utf-8")
    if path.suffix == ".py":
        yield from _strings(ast.parse(content))
    elif path.suffix == ".md":
        yield 1, content
    else:
        for token in _JS_TOKEN.finditer(content):
            if not token.group().startswith(("//", "/*")):
                yield content.count("\n", 0, token.start()) + 1, token.group().replace("\\n", "  ")


def _strings(node: ast.AST) -> Iterator[tuple[int, str]]:
    """All strings; an f-string is one, with `{}` for its values."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        yield node.lineno, node.value
    elif isinstance(node, ast.JoinedStr):
        parts = [each.value if isinstance(each, ast.Constant) else "{}" for each in node.values]
        yield node.lineno, "".join(map(str, parts))
        for each in node.values:
            if isinstance(each, ast.FormattedValue):
                yield from _strings(each.value)
    else:
        for child in ast.iter_child_nodes(node):
            yield from _strings(child)


@pytest.mark.parametrize("path", [*PAGES, *SOURCES], ids=lambda path: str(path.relative_to(ROOT)))
def test_texts_are_plain(path: Path) -> None:
    found = [f"{path.name}:{line}: {phrase}" for line, phrase in hits(path)]
    assert found == []


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("It is started anew.", ["anew"]),
        ("The sweep is over.", ["is over"]),
        ("the load is over the threshold", []),
        ("we recommend an amendment to the passed_over files", []),
        ("A port that is already taken", []),
        ("Any free one is taken", ["Any free one", "is taken"]),
        ("two more idle processes", []),
        ("-----BEGIN CERTIFICATE-----", []),
    ],
)
def test_the_phrases_are_found_as_whole_words(text: str, found: list[str]) -> None:
    assert [each.group() for each in _FIND.finditer(text)] == found


def test_strings_of_code_are_found_and_comments_are_not(tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text('"""Mend it."""\n# anew\nx = f"told {y or \'nobody\'}" "anew"\n')
    assert [*hits(tmp_path / "a.py")] == [(1, "Mend"), (3, "told"), (3, "anew"), (3, "nobody")]
    (tmp_path / "a.cjs").write_text("// anew\n/* mend */ say('told\\nanew', `mend ${x}`);\n")
    assert [*hits(tmp_path / "a.cjs")] == [(2, "told"), (2, "anew"), (2, "mend")]


if __name__ == "__main__":
    for path in (*PAGES, *SOURCES):
        for line, phrase in hits(path):
            sys.stdout.write(f"{path.relative_to(ROOT)}:{line}: {phrase}\n")
