"""What a swap does not reach is found in the text of the two versions."""

import pytest

from agent_tui.child.python.swap_notes import class_changed, entry_notes, unchanged_values

AGENT = """
import os
RATE = 1
cache = {}

class Desk:
    n = 1

async def entry(ctx):
    session = AgentSession(llm="a", userdata={})
    await ctx.connect()
    @session.on("close")
    def closed(event):
        print("closed")
    await session.start(Desk())
"""


def notes(old: str, new: str) -> list[str]:
    new = AGENT.replace(old, new)
    assert new != AGENT
    return entry_notes(AGENT.encode(), new.encode(), "entry", "agent.py")


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (("await ctx.connect()", "await ctx.connect(1)"), ["agent.py:9 body of entry()"]),
        (('llm="a"', 'llm="b"'), ["agent.py:10 arguments of AgentSession(...)"]),
        (('print("closed")', "pass"), ["agent.py:13 event handler"]),
        (("async def entry", "async def other"), ["agent.py entry() is gone; the job has already run it"]),
        (("n = 1", "n = 2"), []),
        (("RATE = 1", "RATE = 2"), []),
        (("await ctx.connect()", "await ctx.connect()  # now"), []),
    ],
)
def test_code_that_has_run_already(change: tuple[str, str], found: list[str]) -> None:
    assert notes(*change) == found


def test_sessions_are_found_outside_of_the_entry_function() -> None:
    old = b"def make():\n    return voice.AgentSession[Facts](llm=1)"
    new = b"def make():\n    return voice.AgentSession[Facts](llm=2)"
    assert entry_notes(old, new, "", "make.py") == ["make.py:2 arguments of AgentSession(...)"]


def test_values_with_the_same_text_are_those_that_may_be_lost() -> None:
    new = AGENT.replace("RATE = 1", "RATE = 2")
    assert unchanged_values(AGENT.encode(), new.encode()) == {"cache": 4}


def test_classes_are_compared_without_comments() -> None:
    assert not class_changed(AGENT.encode(), AGENT.replace("n = 1", "n = 1  # one").encode(), "Desk")
    assert class_changed(AGENT.encode(), AGENT.replace("n = 1", "n = 2").encode(), "Desk")


@pytest.mark.parametrize(("old", "new"), [("return 1", "return 2"), ("LIMIT = 1", "LIMIT = 2")])
def test_what_a_class_uses_counts_as_its_code(old: str, new: str) -> None:
    text = (
        "LIMIT = 1\nclass Model:\n  def chat(self): return Stream()\n"
        "class Stream:\n  def run(self): return helper()\ndef helper(): return 1 + LIMIT\n"
    )
    text = text.replace("return 1 + LIMIT", "return LIMIT") if "LIMIT" in old else text
    assert class_changed(text.encode(), text.replace(old, new).encode(), "Model")
    assert not class_changed(text.encode(), f"{text}class Other: pass".encode(), "Model")


def test_files_that_are_not_python_have_no_notes() -> None:
    assert entry_notes(b"(", b")", "entry", "agent.py") == []
    assert unchanged_values(b"(", b")") == {}
