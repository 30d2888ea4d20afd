"""Links between pages lead to a file and a heading; the names in CONTRIBUTING are those of the code."""

import functools
import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

from agent_tui.cli.main import COMMANDS
from tests.test_words import SOURCES, texts

ROOT = Path(__file__).parents[1]
MESSAGES = (
    "no Python can run",
    "no Node can run",
    "is in use by",
    "is TypeScript, which Node",
    "which is not installed",
    "is not a number",
    "nothing is listening on",
    "unknown host name",
    "does not know the API key",
    "rejected the token's signature",
    "rejects the token as expired or not yet valid",
    "this machine's clock is",
    "does not speak TLS",
    "has no worker endpoint at this path",
    "the proxy asks for a password",
    "another worker took the job",
    "the server offered no job within",
    "serverType is",
    "the offer was declined",
    "accepted, but the server did not assign it",
    "the offer was too old to answer",
    "is registered; registered:",
    "has a load below",
    "accepted the job",
    "loading the agent rewrites",
    "starting fresh interpreters, retrying forks in",
    "✗ crashed",
    "✗ not ready",
    "✗ timeout",
    "✗ hung",
    "✗ OOM kill",
    "✗ limit",
    "✗ no start",
)
"""What docs/troubleshooting.md quotes of the program's messages, so that a search for them finds the page."""

PAGES = sorted([*ROOT.glob("docs/*.md"), ROOT / "README.md", ROOT / "CONTRIBUTING.md"])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    assert [link for link in _links(page) if not _leads_somewhere(page, link)] == []


def test_the_index_lists_every_page() -> None:
    index = ROOT / "docs/README.md"
    assert {*ROOT.glob("docs/*.md")} == {
        index,
        *((index.parent / link).resolve() for link in _links(index)),
    } - {ROOT / "docs/agent-tui.schema.json"}


FOREIGN_FLAGS = {"--dev", "--pid", "--save-dev", "--snapshot-update", "--reload"}
"""Of livekit-server, py-spy, npm, pytest, and the SDK's own worker."""


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_flags_exist(page: Path) -> None:
    commands = [getattr(import_module(f"agent_tui.cli.{name}"), name) for name in COMMANDS]
    flags = {
        flag for command in commands for each in command.params for flag in (*each.opts, *each.secondary_opts)
    }
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", page.read_text(encoding="utf-8")))
    assert named - FOREIGN_FLAGS - {"--help"} <= flags


@pytest.mark.parametrize("message", MESSAGES)
def test_troubleshooting_quotes_messages_as_they_are(message: str) -> None:
    assert message in " ".join((ROOT / "docs/troubleshooting.md").read_text(encoding="utf-8").split())
    assert message in _messages()


@functools.cache
def _messages() -> str:
    """Every string of the package, one per line."""
    return "\n".join(" ".join(text.split()) for path in SOURCES for _, text in texts(path))


def _links(page: Path) -> Iterator[str]:
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
        if not link.startswith(("http:", "https:")):
            yield link


def _leads_somewhere(page: Path, link: str) -> bool:
    file, _, heading = link.partition("#")
    target = page.parent / file if file else page
    return target.exists() and (not heading or heading in _headings(target))


def _headings(page: Path) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    prose = re.sub(r"^```.*?^```", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    titles = re.findall(r"^#+ (.*)$", prose, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


def test_the_names_in_contributing_are_defined() -> None:
    spans = re.findall(r"`([^`\n]+)`", (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"))
    code = "\n".join(
        path.read_text(encoding="utf-8")
        for top in ("agent_tui", "tests")
        for path in (ROOT / top).rglob("*.py")
    )
    owners = {name for span in spans for name in re.findall(r"^([A-Z]\w+)(?:\.\w+)?$", span)}
    members = {name for span in spans for name in re.findall(r"^(?:[A-Z]\w+\.)?(\w+)$", span)}
    files = {span for span in spans if re.fullmatch(r"[\w/]+/[\w.]+\.\w+", span)}
    assert [name for name in sorted(owners | members) if not re.search(rf"\b{name}\b", code)] == []
    homes = [ROOT, ROOT / "agent_tui", ROOT / "tests", ROOT / "tests/options"]
    assert [name for name in sorted(files) if not any((home / name).exists() for home in homes)] == []
