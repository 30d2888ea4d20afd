"""What a swap of an agents-js file does not reach, from the text of two versions."""

import json
from typing import Any

import pytest

from ...nodes import needs_node
from .test_tap import printed

pytestmark = needs_node

CALL = (
    "const [name, args] = %s; console.log(JSON.stringify(require(process.argv[1])[name](...args) ?? null));"
)


def call(name: str, *arguments: object, file: str = "swap_text.cjs") -> Any:
    return printed(CALL % json.dumps([name, arguments]), file)


OLD = """\
// new AgentSession({ llm: 0 })
const text = `new AgentSession({ ${'x' + `}`} })`, slash = /[/"']/;
export default defineAgent({
  entry: async (ctx) => {
    const session = new voice.AgentSession<Facts>({ llm, stt: /* any */ 'a' });
    session.on('close', () => {});
  },
});
"""


@pytest.mark.parametrize(
    ("old", "new", "notes"),
    [
        ("", "", []),
        ("/* any */", "// another comment\n", []),
        ("'a'", "'b'", ["a.mjs:5 arguments of AgentSession(...)"]),
        ("{ llm: 0 }", "{ llm: 1 }", []),
        ("() => {}", "() => { ctx.shutdown(); }", ["a.mjs:6 event handler"]),
        ("const session", "\n\n    const session", []),
    ],
)
def test_arguments_of_sessions_and_handlers(old: str, new: str, notes: list[str]) -> None:
    assert old in OLD
    assert call("startNotes", OLD, OLD.replace(old, new) if old else OLD, "a.mjs") == notes


def test_variables_that_may_hold_state() -> None:
    old = "const a = [];\nexport let b = 1; const c = 2;\nconst d = new Map(); // d\nconst e = { f: 1 };\nvar g = f(\n1);"
    new = "// moved\nconst a = [];\nexport let b: number = 1;\nconst d = new Map();\nconst e = { f: 1 };\nvar g = f(\n1);"
    found = [(each["name"], each["line"]) for each in call("unchangedState", old, new)]
    assert found == [("a", 2), ("b", 3), ("d", 4), ("g", 6)]
    assert call("unchangedState", old, "const a = [1];\nlet b = 2;\nconst d = new Set();") == []


def test_the_text_of_a_class() -> None:
    source = "class Aa { x() { return '}'; } }\nexport class A extends B { // c\n  y() { return /}/; } }\nclass C {}"
    assert call("classText", source, "A") == "class A extends B { y() { return /}/; } }"
    assert call("classText", source, "D") is None


USES = """\
import { llm } from '@livekit/agents';
const GREETING = 'Hi'; // for Stream
const other = 1;
function texts(): { one: string } {
  return { one: `${GREETING}!` };
}
class Stream extends llm.LLMStream {
  run() { return texts().one; }
}
export class LLM extends llm.LLM {
  chat() { return this.other ?? new Stream(); }
}
export default defineAgent({
  entry: async () => { new LLM(); },
});
"""


@pytest.mark.parametrize(
    ("old", "new", "changes"),
    [
        ("'Hi'", "'Ho'", True),
        ("one: `", "one: `>", True),
        ("texts().one", "'two'", True),
        ("new Stream()", "null", True),
        ("// for Stream", "", False),
        ("other = 1", "other = 2", False),
        ("async () => { new", "async () => { await null; new", False),
        ("\nclass", "\n\n\nclass", False),
    ],
)
def test_the_text_of_a_class_and_what_it_uses(old: str, new: str, changes: bool) -> None:
    assert old in USES
    texts = [call("usedText", source, "LLM") for source in (USES, USES.replace(old, new))]
    assert texts[0]
    assert (texts[0] != texts[1]) == changes
    assert call("usedText", "function f() { class A {} }", "A") == "class A {}"


def test_imports_that_text_shows_and_modules_that_run_again() -> None:
    code = """
    const { Table, reporting, versionOf, versioned } = require(process.argv[1]);
    const old = new Map(Object.entries({
      '/p/agent.ts': "import { a } from './a.js'; import d from '#d';",
      '/p/a.ts': "export * from './b';",
      '/p/b/index.ts': 'export const b = 1;',
      '/p/c.ts': "const late = () => import('./a.js');",
      '/p/d.ts': "require('./e.json')",
      '/p/e.json': '{}',
      '/p/f.ts': "import 'zod';",
    }));
    const shared = { original: (file) => old.get(file), files: [...old.keys()], edges: new Map([['/p/agent.ts', ['/p/d.ts']]]) };
    const table = (number, sources, before) => new Table(number, new Map(Object.entries(sources)), before, shared);
    const tags = (table) => Object.fromEntries([...table.tags].sort());
    const first = table(1, { '/p/b/index.ts': 'export const b = 2;' }, null);
    const second = table(2, { '/p/b/index.ts': 'export const b = 2;', '/p/e.json': '[]' }, first);
    const third = table(3, { '/p/e.json': '[]' }, second);
    const none = table(4, { '/p/e.json': '[]' }, third);
    const url = versioned('file:///p/a.ts?x=1', 7);
    console.log(JSON.stringify([tags(first), tags(second), tags(third), none.changed.size, url, versionOf(url), versionOf('file:///p/a.ts'),
      reporting('class A {}\\nexport default class B$ extends A {}\\nconst C = class {};\\n  class Inner {}\\n// end', '/p/a.mjs', 7), reporting('{}', '/p/a.json', 7)]));
    """
    first, second, third, none, url, number, none_of_url, source, data = printed(code, "swap_modules.cjs")
    assert first == dict.fromkeys(("/p/a.ts", "/p/agent.ts", "/p/b/index.ts", "/p/c.ts"), 1)
    assert second == first | {"/p/agent.ts": 2, "/p/d.ts": 2, "/p/e.json": 2}
    assert third == dict.fromkeys(first, 3) | {"/p/d.ts": 2, "/p/e.json": 2}
    assert (none, url, number, none_of_url) == (0, "file:///p/a.ts?x=1&agent-tui=7", 7, 0)
    lines = source.splitlines()
    assert lines[3:5] == ["  class Inner {}", "// end"]
    assert [name for name in ("A", "B$", "C", "Inner") if f"{name}: typeof {name}" in lines[5]] == [
        "A",
        "B$",
        "C",
    ]
    assert data == "{}"
