"""Loads, a diff, and hostile text for the tests of the generations page."""

from msgspec.structs import replace

from agent_tui.model import events as ev
from agent_tui.model.state import AppState
from agent_tui.tui.widgets.text import Line
from tests.fakes.engine import FakeEngine
from tests.tui import histories

DIFF = """generation 2 compared with 1: 2 files, +2 -2 lines
--- agent.py
+++ agent.py
@@ -8,3 +8,3 @@
 before
--- a comment that was removed
+++ one that was added
 after
--- tools/gone.py
+++ /dev/null
@@ -1 +0,0 @@
-x
=== .env changed: content not kept"""


HOSTILE = "\x1b[2J\r[bold]x[/]\x1b]0;title\x07\u202e[red"


def text(lines: tuple[Line, ...]) -> str:
    return "\n".join("".join(span.text for span in line) for line in lines)


def ready(number: int, **more: object) -> ev.GenerationReady:
    return replace(histories.READY, generation=number, **more)


def state_of(*events: ev.Event) -> AppState:
    engine = FakeEngine()
    engine.publish(*histories.STARTING, *events)
    return engine.bus.state
