"""Swaps in agents-js jobs: real children get new code while they talk."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import pytest

from agent_tui.model import child as ch
from agent_tui.model.logs import LogLevel
from agent_tui.model.session_events import SwapReach

from ...limits import PATIENCE_S
from ...nodes import in_turn, label, needs_node, newest_node, nodes, sdks
from ..support import AGENTS, Sink, ended, poll, start_job, until
from .support import host_of
from .swap_agents import KINDS, package_type, sources
from .test_tap import Talk

M = TypeVar("M")

pytestmark = [pytest.mark.real, needs_node]


@dataclass
class Swapping:
    """One conversation with a child whose code changes."""

    child: ch.Child
    talk: Talk
    sink: Sink
    folder: Path
    started: dict[str, str]
    suffix: str
    now: dict[str, str] = field(default_factory=dict)
    generation: int = 1
    seen: list[ch.FromChild] = field(default_factory=list)

    def change(self, *changes: tuple[str, str], name: str = "agent") -> None:
        """Change a file, and send the code to the child."""
        file = f"{name}.{self.suffix}"
        for old, new in changes:
            assert old in self.now[file], old
            self.now[file] = self.now[file].replace(old, new)
        self.send()

    def send(self) -> None:
        self.generation += 1
        changed = {each: text for each, text in self.now.items() if self.started.get(each) != text}
        contents = {str(self.folder / each): text.encode() for each, text in changed.items()}
        self.child.send(ch.SwapCode(self.generation, contents))

    async def swapped(self) -> ch.Swapped:
        """Wait for the result of the last swap, unless it came with a reply."""
        for message in self.seen:
            if isinstance(message, ch.Swapped) and message.generation == self.generation:
                return message
        return await self.until(ch.Swapped)

    async def waits(self) -> ch.SwapWaits:
        """Wait until the child reports what the last swap waits for."""
        while (found := await self.until(ch.SwapWaits)).generation != self.generation:
            pass
        return found

    async def swap(self, *changes: tuple[str, str], name: str = "agent") -> ch.Swapped:
        self.change(*changes, name=name)
        found = await self.swapped()
        assert found.generation == self.generation
        return found

    async def until(self, kind: type[M]) -> M:
        async with asyncio.timeout(PATIENCE_S):
            while True:
                message = await self.child.receive()
                assert message is not None
                self.seen.append(message)
                if isinstance(message, ch.SessionData):
                    self.talk.messages.append(message)
                if isinstance(message, kind):
                    return message

    async def say(self, text: str) -> str:
        return await self.reply(self.talk.send("run_input", text=text))

    async def reply(self, request_id: str) -> str:
        """Wait for the reply to a request, unless it came with the result of a swap."""
        while True:
            for message in self.seen:
                response: Any = (
                    message.data.get("response", {}) if isinstance(message, ch.SessionData) else {}
                )
                if response.get("request_id") == request_id:
                    assert not response.get("error"), response
                    return self.talk.said()[-1]
            await self.until(ch.SessionData)


async def ping(child: ch.Child) -> None:
    """Keep the job running: the SDK's job process ends 15 s after the last ping."""
    while True:
        child.send(ch.Ping(1))
        await asyncio.sleep(2.5)


@asynccontextmanager
async def swapping(
    folder: Path,
    kind: str = "mjs",
    *,
    node: Path | None = None,
    sdk: Path | None = None,
    changed: Mapping[str, str] | None = None,
) -> AsyncIterator[Swapping]:
    """Yield a conversation after its greeting. At the end the job ends gracefully, with one greeting."""
    suffix = kind.rpartition(".")[2]
    files = {**sources(kind), **(changed or {})}
    async with host_of(folder, f"agent.{suffix}", files, kind=package_type(kind), node=node, sdk=sdk) as host:
        modules = {str(folder / name): text for name, text in files.items()}
        child = await host.launch(modules=modules)
        await until(child, ch.Ready)
        child.send(start_job(sessions=True, text_only=True))
        talk = Talk(child)
        async with asyncio.timeout(PATIENCE_S):
            await talk.state("AS_LISTENING")
        pings = asyncio.create_task(ping(child))
        yield (run := Swapping(child, talk, host.sink, folder, files, suffix, dict(files)))
        pings.cancel()
        child.send(ch.Shutdown("enough"))
        await run.until(ch.SessionClosed)
        assert (await ended(child)).exit_code == 0
        assert talk.said().count("Hello!") == 1


ALL = [(kind, node) for kind, node in in_turn(KINDS, nodes())]


@pytest.mark.parametrize(
    ("kind", "node"), ALL, ids=lambda each: label(each) if isinstance(each, Path) else each
)
async def test_a_conversation_over_ten_swaps(tmp_path: Path, kind: str, node: Path) -> None:
    sdk = sdks()[-1] if node == newest_node() else sdks()[0]
    async with swapping(tmp_path, kind, node=node, sdk=sdk) as run:
        assert await run.say("hi") == "1 instructions one"
        facts = "facts one 1 label one base one 10 1 secret one | instructions one"
        assert await run.say("facts") == facts

        swapped = await run.swap(("instructions one", "instructions two"))
        assert swapped.reached is SwapReach.ALL
        line = run.now[f"agent.{run.suffix}"].splitlines().index("const calls = [];") + 1
        assert swapped.notes == (f"agent.{run.suffix}:{line} calls was re-created",)
        assert await run.say("hi") == "3 instructions two"

        await run.swap(("facts one", "facts two"), ("secret one", "secret two"))
        assert (await run.say("facts")).startswith("facts two 2 label one base one 10 1 secret two |")

        added = "added: llm.tool({ description: 'Do.', execute: async () => 'added' }),\n        billing:"
        await run.swap(("billing:", added))
        assert await run.say("added") == "added | instructions two"
        await run.swap((added, "billing:"))
        assert (await run.say("added")).startswith("6 instructions two")

        swapped = await run.swap(("10", "20"), name="prices")
        assert swapped.reached is SwapReach.ALL
        assert "base one 20 1 secret two" in await run.say("facts")
        if kind != "commonjs.ts":  # Node does not say which version of a CommonJS module imports another
            assert await run.say("lazy") == "late 20 | instructions two"

        await run.swap(("label one", "label two"), ("base one", "base two"))
        assert (await run.say("facts")).startswith("facts two 4 label two base two 20 1 ")

        swapped = await run.swap(("class Desk", "class ("))
        assert swapped.reached is SwapReach.NONE
        assert "SyntaxError" in swapped.notes[0]
        assert (await run.say("facts")).startswith("facts two 5 ")

        swapped = await run.swap(("class (", "class Renamed"), ("new Desk(", "new Renamed("), ("facts two", "facts three"))  # fmt: skip
        assert swapped.reached is SwapReach.NONE
        gone = f"class Desk is no longer in agent.{run.suffix}: its agent keeps its code"
        assert gone in swapped.notes
        assert (await run.say("facts")).startswith("facts two 6 ")

        swapped = await run.swap(("class Renamed", "class Desk"), ("new Renamed(", "new Desk("))
        assert swapped.reached is SwapReach.ALL
        assert (await run.say("facts")).startswith("facts three 7 ")

        run.now = dict(run.started)
        run.send()
        assert (await run.swapped()).reached is SwapReach.ALL
        assert await run.say("facts") == facts.replace("one 1", "one 8", 1)
        if kind != "commonjs.ts":
            assert await run.say("lazy") == "late 10 | instructions one"


async def test_a_swap_waits_for_a_running_tool(tmp_path: Path) -> None:
    """The newest save wins; one that waits can be cancelled, and is when the job ends."""
    running, go = tmp_path / "running", tmp_path / "go"
    async with swapping(tmp_path) as run:

        async def slow() -> str:
            """Start the tool, and return the request's id once it runs."""
            running.unlink(missing_ok=True)
            go.unlink(missing_ok=True)
            asked = run.talk.send("run_input", text="slow")
            await poll(running.exists)
            return asked

        def results() -> int:
            return sum(isinstance(each, ch.Swapped) for each in run.seen)

        asked = await slow()
        run.change(("instructions one", "instructions two"), ("slow one", "slow two"))
        waits = await run.waits()
        assert (waits.session, waits.generation, waits.tool) == (1, 2, "slow")
        run.change(("instructions two", "instructions three"), ("slow two", "slow three"))
        assert (await run.waits()).generation == 3
        go.touch()
        swapped = await run.swapped()
        assert (swapped.generation, swapped.reached) == (3, SwapReach.ALL)
        assert (await run.reply(asked)).startswith("slow one base one | instructions ")
        assert await run.say("slow") == "slow three base one | instructions three"
        assert results() == 1

        asked = await slow()
        run.change(("instructions three", "instructions four"))
        await run.waits()
        run.child.send(ch.SwapCode(0, {}))
        go.touch()
        await run.reply(asked)
        assert await run.say("hi") == "4 instructions three"
        assert (await run.swap(("slow three", "slow five"))).reached is SwapReach.ALL
        assert await run.say("hi") == "5 instructions four"
        assert results() == 2

        await slow()
        run.change(("slow five", "slow six"))
        await run.waits()
        run.child.send(ch.Shutdown("now"))
        go.touch()
    assert results() == 2


async def test_swaps_around_a_handoff(tmp_path: Path) -> None:
    async with swapping(tmp_path) as run:
        # The tool that hands over ends as old code, and the agent that it builds gets the new code.
        asked = run.talk.send("run_input", text="transfer")
        await poll((tmp_path / "running").exists)
        run.change(("billing one", "billing two"), ("transfer one", "transfer two"))
        assert (await run.waits()).tool == "transfer"
        (tmp_path / "go").touch()
        assert (await run.swapped()).reached is SwapReach.ALL
        await run.reply(asked)
        assert run.talk.said()[-1].startswith("transfer one | ")
        assert await run.say("hi") == "1 billing two"

        # After a handoff the current agent is swapped.
        assert (await run.swap(("billing two", "billing three"))).reached is SwapReach.ALL
        assert await run.say("hi") == "2 billing three"
        handoffs = run.talk.added("agent_handoff")
        assert handoffs[-1]["new_agent_id"] == "billing"

        # An agent that older code builds after the swap gets the new code.
        (tmp_path / "late").touch()
        while len(later := run.talk.added("agent_handoff")) == len(handoffs):
            await run.until(ch.SessionData)
        assert later[-1]["new_agent_id"] == "billing"
        assert await run.say("hi") == "1 billing three"


async def test_many_versions_of_modules_say_that_the_job_should_be_restarted(tmp_path: Path) -> None:
    helpers = {f"helper{number}.mjs": "export { PRICE } from './prices.mjs';\n" for number in range(60)}
    imports = "".join(f"import './{name}';\n" for name in helpers)
    agent = imports + (AGENTS / "js_swap/agent.mjs").read_text()
    async with swapping(tmp_path, changed={**helpers, "agent.mjs": agent}) as run:
        for price in range(10, 18):  # times the 63 modules are more than 500
            assert not run.sink.logged("older versions of modules are in memory")
            swapped = await run.swap((f"PRICE = {price};", f"PRICE = {price + 1};"), name="prices")
            assert swapped.reached is SwapReach.ALL
        await poll(lambda: run.sink.logged("older versions of modules are in memory"))
        [(level, text, _)] = run.sink.logged("older versions of modules are in memory")
        assert level is LogLevel.WARN
        assert "restart the job (R) to free it" in text
        assert await run.say("hi") == "1 instructions one"


async def test_a_swap_waits_for_a_tool_that_awaits_a_task(tmp_path: Path) -> None:
    """A task that no tool awaits is swapped, with the agent that waits for it."""
    agent = (AGENTS / "js_swap/agent.mjs").read_text()
    greets = "    this.session.generateReply();"
    agent = agent.replace(
        greets, "    await this.session.generateReply().waitForPlayout();\n    await new Question().run();"
    )
    async with swapping(tmp_path, changed={"agent.mjs": agent}) as run:
        while run.talk.said()[-1] != "1 question one":
            await run.until(ch.SessionData)
        swapped = await run.swap(
            ("question one", "question two"), ("done one", "done two"), ("facts one", "facts two")
        )
        assert swapped.reached is SwapReach.ALL
        assert await run.say("hi") == "2 question two"
        await run.say("done")
        assert (await run.say("facts")).startswith("facts two 1 ")

        assert (await run.say("ask")).endswith(" question two")
        run.change(
            ("question two", "question three"), ("done two", "done three"), ("facts two", "facts three")
        )
        assert (await run.waits()).tool == "ask"
        assert (await run.say("done")).startswith("done two | instructions one")
        assert (await run.swapped()).reached is SwapReach.ALL
        assert (await run.say("facts")).startswith("facts three 2 ")


async def test_what_is_not_reached_is_listed(tmp_path: Path) -> None:
    async with swapping(tmp_path) as run:
        swapped = await run.swap(
            ("    await ctx.connect();", "    await ctx.connect();\n    console.log('again');"),
            ("{ llm: new Scripted() }", "{ llm: new Scripted(), userData: {} }"),
            ("    void (async", "    session.on('close', () => {});\n    void (async"),
            ("const calls = [];", ""),
            ("calls.push(this.count);", ""),
        )
        lines = run.now["agent.mjs"].splitlines()
        entry = lines.index("  entry: async (ctx) => {") + 1
        assert swapped.notes == (
            f"agent.mjs:{entry} body of entry()",
            f"agent.mjs:{entry + 3} arguments of AgentSession(...)",
            f"agent.mjs:{entry + 5} event handler",
        )
        assert swapped.reached is SwapReach.ALL
        swapped = await run.swap(("return 'scripted.LLM'", "return 'scripted'"), name="scripted")
        assert "llm of the session is an instance of the earlier class Scripted" in swapped.notes
        assert "scripted.mjs:5 STARTS was re-created" in swapped.notes


UNFIT = [
    ([("constructor() {\n    super({\n      id: 'desk'", "constructor(name = 'x') {\n    super({\n      id: 'desk'")],
     SwapReach.METHODS, "the constructor of Desk has parameters: instructions and tools stay as they were"),
    ([("id: 'desk',", "id: 'desk', ...nothing(),")],
     SwapReach.METHODS, "new Desk() raised ReferenceError: nothing is not defined: instructions and tools stay as they were"),
    ([("class Base extends voice.Agent", "class Base extends voice.AgentTask")],
     SwapReach.NONE, "class Desk is now an AgentTask: its agent keeps its code"),
    ([("class Base extends voice.Agent", "class Base extends Object")],
     SwapReach.NONE, "class Desk is no longer an Agent: its agent keeps its code"),
    ([("class Desk extends Base {", "const made = () => {\nclass Desk extends Base {"),
      ("class Billing", "return new Desk();\n};\n\nclass Billing"), ("new Desk(),", "made(),")],
     SwapReach.NONE, "class Desk is defined in a function: its agent keeps its code"),
]  # fmt: skip
"""Changes that an agent cannot take, how far the swap reaches, and why."""


async def test_code_that_an_agent_cannot_take_leaves_the_call_as_it_was(tmp_path: Path) -> None:
    async with swapping(tmp_path) as run:
        count, base = 0, "base one"
        more = [("instructions one", "instructions two"), ("base one", "base two")]
        for changes, reached, note in UNFIT:
            run.now = dict(run.started)
            swapped = await run.swap(*changes, *more)
            assert (swapped.reached, note in swapped.notes) == (reached, True), swapped.notes
            base = "base two" if reached is SwapReach.METHODS else base
            said = await run.say("facts")
            count += 1
            assert said == f"facts one {count} label one {base} 10 1 secret one | instructions one"
            run.now = dict(run.started)
            base = f"base {count}"
            assert (await run.swap(("base one", base))).reached is SwapReach.ALL
            said = await run.say("facts")
            count += 1
            assert said == f"facts one {count} label one {base} 10 1 secret one | instructions one"


async def test_tools_and_instructions_that_the_agent_changed_itself_stay(tmp_path: Path) -> None:
    agent = (AGENTS / "js_swap/agent.mjs").read_text()
    greets = "    this.session.generateReply();\n  }\n}\n\nclass Billing"
    assert greets in agent
    own = "this.updateTools([...this.toolCtx.tools.slice(0, 1), llm.tool({ name: 'own', description: 'Mine.', execute: async () => 'own one' })]);\n    await this.updateInstructions('instructions of its own');\n"  # fmt: skip
    async with swapping(
        tmp_path, changed={"agent.mjs": agent.replace(greets, f"    await {own}{greets}")}
    ) as run:
        added = "added: llm.tool({ description: 'Do.', execute: async () => 'added' }),\n        billing:"
        swapped = await run.swap(("billing:", added), ("facts one", "facts two"), ("own one", "own two"))
        assert swapped.reached is SwapReach.ALL
        assert (await run.say("facts")).endswith(" | instructions of its own")
        assert (await run.say("facts")).startswith("facts two 2 ")
        assert await run.say("own") == "own one | instructions of its own"
        assert await run.say("added") == "added | instructions of its own"
        assert await run.say("slow") == "5 instructions of its own"  # it removed that tool
        await run.swap(("instructions one", "instructions two"))
        assert await run.say("slow") == "6 instructions two"


async def test_commonjs_modules_of_an_es_module(tmp_path: Path) -> None:
    """The changed one runs again with the one that requires it; the third one stays shared."""
    agent = (AGENTS / "js_swap/agent.mjs").read_text()
    agent = agent.replace("import { PRICE }", "import { word, shared } from './desk.cjs';\nimport { PRICE }")
    agent = agent.replace("${PRICE}", "${word} ${shared.count++} ${PRICE}")
    files = {
        "agent.mjs": agent,
        "desk.cjs": "exports.word = require('./word').word;\nexports.shared = require('./shared.cjs');\n",
        "word.js": "exports.word = 'word one';",
        "shared.cjs": "exports.count = 0;",
        "package.json": "{}",
    }
    async with swapping(tmp_path, changed=files) as run:
        assert "base one word one 0 10" in await run.say("facts")
        run.now["word.js"] = "exports.word = 'word two';"
        for _ in range(2):
            run.send()
            assert (await run.swapped()).reached is SwapReach.ALL
        assert "base one word two 1 10" in await run.say("facts")
