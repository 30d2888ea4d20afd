"""`--on-reload swap` for agents-js files: new code in a conversation of twenty turns."""

from pathlib import Path

import pytest

from tests.cli.test_swap import conversation
from tests.nodes import CACHE, label, needs_node, newest_only, project, sdks
from tests.runtimes.node.support import write
from tests.runtimes.node.swap_agents import package_type, sources

pytestmark = [pytest.mark.real, needs_node, pytest.mark.timeout(240)]


@pytest.mark.parametrize(
    ("kind", "node"),
    newest_only("ts", ("mjs", "ts")),
    ids=lambda each: label(each) if isinstance(each, Path) else each,
)
async def test_twenty_turns_over_ten_saves(tmp_path: Path, kind: str, node: Path) -> None:
    """Each turn runs on the code that the events say. `count` and the history stay.

    Other kinds of modules, on other Nodes: `test_a_conversation_over_ten_swaps` of tests/runtimes/node.
    """
    sdk = sdks()[-1] if kind == "ts" else sdks()[0]
    files = sources(kind)
    write(project(tmp_path, kind=package_type(kind), sdk=sdk), files)
    name = next(iter(files))
    suffix = kind.rpartition(".")[2]
    flags = ("--num-idle-processes", 0, "--node", node)
    async with conversation(tmp_path / name, *flags, environ=CACHE) as talk:

        async def say(text: str, reply: str) -> None:
            said = await talk.say(text)
            assert said.startswith(reply), (said, reply)

        async def facts(start: str, count: int, more: str) -> None:
            await say("facts", f"facts {start} {count} {more} | ")

        one = "label one base one 10 1 secret one"
        await say("hi", "1 instructions one")
        await facts("one", 1, one)

        swapped = await talk.swap(("instructions one", "instructions two"))
        assert (swapped["from_generation"], swapped["to_generation"], swapped["turn"]) == (1, 2, 2)
        line = files[name].splitlines().index("const calls = [];") + 1
        assert (swapped["reached"], swapped["notes"]) == ("all", [f"{name}:{line} calls was re-created"])
        await say("hi", "3 instructions two")
        await facts("one", 2, one)

        await talk.swap(("facts one", "facts two"))
        await facts("two", 3, one)
        await facts("two", 4, one)

        added = "added: llm.tool({ description: 'Do.', execute: async () => 'added' }),\n        billing:"
        await talk.swap(("billing:", added))
        await say("added", "added | instructions two")
        await facts("two", 5, one)
        await talk.swap((added, "billing:"))
        await say("added", "9 instructions two")
        await facts("two", 6, one)

        swapped = await talk.swap(("10", "20"), name=f"prices.{suffix}")
        assert swapped["reached"] == "all"
        await facts("two", 7, one.replace("10", "20"))
        await facts("two", 8, one.replace("10", "20"))

        await talk.swap(("label one", "label two"), ("base one", "base two"), ("secret one", "secret two"))
        two = "label two base two 20 1 secret two"
        await facts("two", 9, two)
        await say("hi", "14 instructions two")

        talk.save(("class Desk", "class ("))
        await talk.run.until("generation_failed", generation=talk.generation)
        await facts("two", 10, two)
        assert talk.generations()[talk.turn] == talk.generation - 1
        await say("hi", "16 instructions two")

        swapped = await talk.swap(
            ("class (", "class Renamed"), ("new Desk(", "new Renamed("), ("facts two", "facts three")
        )
        assert swapped["reached"] == "none"
        assert f"class Desk is no longer in {name}: its agent keeps its code" in swapped["notes"]
        await facts("two", 11, two)
        assert talk.generations()[talk.turn] == talk.generation - 2

        swapped = await talk.swap(("class Renamed", "class Desk"), ("new Renamed(", "new Desk("))
        assert swapped["reached"] == "all"
        await facts("three", 12, two)

        await talk.swap(
            ("#secret", "#hidden"), ("secret two", "hidden two"), ("count = 0;", "count = 0;\n  more = 1;")
        )
        await facts("three", 13, two.replace("secret", "hidden"))
        await say("hi", "20 instructions two")
        assert (talk.turn, talk.generation) == (20, 11)
        assert talk.generations()[20] == 11
    assert not talk.run.all("job_lost")
    assert [each["reached"] for each in talk.run.all("swapped")].count("none") == 1
