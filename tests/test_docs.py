"""Links between pages lead to a file and a heading; the names in CONTRIBUTING are those of the code."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
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
