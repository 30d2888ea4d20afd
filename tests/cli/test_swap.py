"""`--on-reload swap`: new code in running conversations of an unmodified agent file."""

import shutil
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.cli.support import AGENTS, Run, agent_tui, save
from tests.fakes.scripted_child import until
from tests.sdks import each_sdk, sdk_in_turn

pytestmark = [pytest.mark.real, pytest.mark.timeout(180)]


class Talk:
    """One conversation over several saves."""

    def __init__(self, run: Run, folder: Path, file: str = "agent.py") -> None:
        self.run, self.folder, self.file = run, folder, file
        self.turn = 0
        self.generation = 1

    async def say(self, text: str) -> str:
        """Say something; return the reply, which must come from the generation that its events name."""
        self.start(text)
        return await self.reply()

    def start(self, text: str) -> None:
        assert self.run.process.stdin is not None
        self.turn += 1
        self.run.process.stdin.write(f"{text}\n".encode())

    async def reply(self) -> str:
        ended = await self.run.until("turn_ended", turn=self.turn)
        assert ended["error"] is None
        said = [m for m in self.run.all("message") if m["turn"] == self.turn and m["role"] == "assistant"]
        return str(said[-1]["text"])

    def save(self, *changes: tuple[str, str], name: str = "") -> None:
        file = self.folder / (name or self.file)
        text = file.read_text()
        for old, new in changes:
            assert old in text
            text = text.replace(old, new)
        self.generation += 1
        save(file, text)

    async def swap(self, *changes: tuple[str, str], name: str = "") -> dict[str, Any]:
        """Save the changes; return the event of the swap."""
        self.save(*changes, name=name)
        return await self.swapped()

    async def swapped(self) -> dict[str, Any]:
        """Return the event of the swap to the code saved last."""
        return await self.run.until("swapped", to_generation=self.generation)

    def generations(self) -> dict[int, int]:
        return {each["turn"]: each["generation"] for each in self.run.all("turn_started")}


@asynccontextmanager
async def talking(folder: Path, python: Path, *flags: object) -> AsyncIterator[Talk]:
    shutil.copytree(AGENTS / "sdk_swap", folder, dirs_exist_ok=True, ignore=lambda *_: ["__pycache__"])
    async with conversation(folder / "agent.py", "--python", python, *flags) as talk:
        yield talk


@asynccontextmanager
async def conversation(
    file: Path, *flags: object, environ: Mapping[str, str] | None = None
) -> AsyncIterator[Talk]:
    """Yield a conversation after its greeting. No session is lost, and no greeting repeated."""
    arguments = ("--local", "--json", "--port", 0, "--exit-when-idle", "--say", "-", "--on-reload", "swap")
    async with agent_tui(file, *arguments, *flags, cwd=file.parent, environ=environ) as run:
        await run.until("message", turn=0)
        talk = Talk(run, file.parent, file.name)
        yield talk
        assert run.process.stdin is not None
        run.process.stdin.close()
        assert await run.end() == 0, run.stderr
    greetings = [each["text"] for each in run.all("message") if each["text"] == "Hello!"]
    assert greetings == ["Hello!"]
    assert len(run.all("session_started")) == 1
    (ended,) = run.all("job_ended")
    assert (ended["reason"], ended["generation"]) == ("all turns sent", 1)


@each_sdk()
async def test_twenty_turns_over_ten_saves(sdk_python: Path, tmp_path: Path) -> None:
    async with talking(tmp_path, sdk_python) as talk:

        async def hi() -> None:
            """Say something that calls no tool: the history has all turns, and one set of instructions."""
            assert await talk.say("hi") == f"{talk.turn} instructions two of reception"

        assert await talk.say("hi") == "1 instructions one of reception"
        assert await talk.say("facts") == (
            "facts one 1 label one base one 10 1 | instructions one of reception"
        )

        swapped = await talk.swap(("instructions one", "instructions two"))
        assert (swapped["from_generation"], swapped["to_generation"], swapped["turn"]) == (1, 2, 2)
        assert swapped["reached"] == "all"
        assert swapped["notes"] == ["agent.py:11 calls was re-created"]
        await hi()

        swapped = await talk.swap(("facts one", "facts two"))
        assert await talk.say("facts") == (
            "facts two 2 label one base one 10 1 | instructions two of reception"
        )
        await hi()

        added = (
            "    @function_tool\n    async def added(self) -> str:\n        'Do.'\n        return 'added'\n"
        )
        before = "    @function_tool\n    async def slow"
        await talk.swap((before, added + before))
        assert await talk.say("added") == "added | instructions two of reception"
        await hi()

        await talk.swap((added, ""))
        assert (await talk.say("added")).startswith("8 instructions two")

        swapped = await talk.swap(("10", "20"), name="prices.py")
        assert swapped["reached"] == "all"
        assert "base one 20 1 |" in await talk.say("facts")
        await hi()

        await talk.swap(("label one", "label two"), ("base one", "base two"))
        assert "3 label one" not in (said := await talk.say("facts"))
        assert said.startswith("facts two 4 label two base two 20 1 |")
        await hi()

        talk.save(("class Desk", "class ("))
        await talk.run.until("generation_failed", generation=talk.generation)
        assert (await talk.say("facts")).startswith("facts two 5 ")
        assert talk.generations()[talk.turn] == talk.generation - 1
        await hi()

        swapped = await talk.swap(
            ("class (", "class Renamed"), ("Desk(", "Renamed("), ("facts two", "facts three")
        )
        assert swapped["reached"] == "none"
        assert "class Desk is no longer in agent.py: its agent keeps its code" in swapped["notes"]
        assert (await talk.say("facts")).startswith("facts two 6 ")
        await hi()

        swapped = await talk.swap(("class Renamed", "class Desk"), ("Renamed(", "Desk("))
        assert swapped["reached"] == "all"
        assert (await talk.say("facts")).startswith("facts three 7 ")
        await hi()

        swapped = await talk.swap(("    label =", "    __slots__ = ('a', 'b')\n    label ="))
        assert swapped["reached"] == "all"
        assert any("a new one replaced it" in note for note in swapped["notes"])
        assert [each["to_agent"] for each in talk.run.all("handoff")] == ["desk"]
        assert (await talk.say("facts")).startswith("facts three 8 ")
        await hi()
        assert talk.turn == 20
    assert not talk.run.all("job_lost")
    spoken = [each for each in talk.run.all("message") if each["turn"] and each["role"] == "assistant"]
    assert [each["generation"] for each in spoken] == list(talk.generations().values())


@each_sdk()
async def test_saves_that_reach_a_part_of_the_session(sdk_python: Path, tmp_path: Path) -> None:
    async with talking(tmp_path, sdk_python) as talk:
        # Swapping back uses the first modules again.
        await talk.say("facts")
        await talk.swap(("facts one", "facts two"), ("instructions one", "instructions two"))
        await talk.say("facts")
        swapped = await talk.swap(("facts two", "facts one"), ("instructions two", "instructions one"))
        assert (swapped["from_generation"], swapped["to_generation"]) == (2, 3)
        assert (swapped["reached"], swapped["notes"]) == ("all", [])
        said = await talk.say("facts")
        assert said == "facts one 3 label one base one 10 1 | instructions one of reception"
        assert talk.generations() == {1: 1, 2: 2, 3: 3}

        # Code that only fails in the job leaves the call as it was.
        fails = "\nif asyncio._get_running_loop(): raise OSError('in use')"
        swapped = await talk.swap(
            ("server = AgentServer()", f"server = AgentServer(){fails}"), ("facts one", "facts two")
        )
        assert swapped["reached"] == "none"
        assert swapped["notes"] == ["agent.py:11 OSError: in use: the session keeps its code"]
        assert (await talk.say("facts")).startswith("facts one 4 ")
        assert talk.generations()[4] == 3
        await talk.swap((fails, ""))
        assert (await talk.say("facts")).startswith("facts two 5 ")

        # What is not reached is listed.
        swapped = await talk.swap(
            ("await ctx.connect()", "await ctx.connect()\n    print('again')"),
            ("llm=scripted.Scripted()", "llm=scripted.Scripted(), userdata={}"),
        )
        line = (tmp_path / "agent.py").read_text().splitlines().index("async def entry(ctx: JobContext):") + 1
        assert swapped["notes"] == [
            f"agent.py:{line} body of entry()",
            f"agent.py:{line + 3} arguments of AgentSession(...)",
            "agent.py:11 calls was re-created",
        ]
        assert swapped["reached"] == "all"
        swapped = await talk.swap(("def chat(self", "def chat(self, /"), name="scripted.py")
        assert "llm of the session is an instance of the earlier class Scripted" in swapped["notes"]
        assert "scripted.py:5 STARTS was re-created" not in swapped["notes"]  # its value is equal

        # A constructor that raises leaves tools and instructions.
        swapped = await talk.swap(
            (
                'super().__init__(instructions=f"instructions one',
                'assert name == "x"\n        super().__init__(instructions=f"instructions two',
            ),
            ("facts two", "facts three"),
        )
        assert swapped["reached"] == "methods"
        assert (
            "Desk(...) raised AssertionError: instructions and added tools stay as they were"
            in swapped["notes"]
        )
        assert (await talk.say("facts")).endswith("| instructions one of reception")
        assert talk.run.all("tool_call")[-1]["output"].startswith("facts three 6 ")

        # A process keeps its environment.
        save(tmp_path / ".env", "A_KEY=x\n")
        talk.generation += 1
        swapped = await talk.swapped()
        assert (swapped["reached"], swapped["changed"]) == ("all", [])
        assert "environment (A_KEY)" in swapped["notes"]


@each_sdk()
async def test_swaps_during_tools_tasks_and_handoffs(sdk_python: Path, tmp_path: Path) -> None:
    """livekit-agents since 1.8 reports which tool runs: a swap waits also for one that waits for a task."""
    reports_tools = "new" in str(sdk_python)
    running, go = tmp_path / "running", tmp_path / "go"
    async with talking(tmp_path, sdk_python) as talk:
        # A swap waits for a running tool, and the newest save wins.
        talk.start("slow")
        await until(running.exists)
        for generation, (old, new) in ((2, ("one", "two")), (3, ("two", "three"))):
            talk.save((f"instructions {old}", f"instructions {new}"), (f"slow {old}", f"slow {new}"))
            waits = await talk.run.until("swap_waiting", to_generation=generation)
            assert waits["tool"] == ("slow" if reports_tools else None)
        go.touch()
        assert (await talk.swapped())["turn"] == 1
        # The tool ended as the old code, which calls `super()` after its wait.
        assert (await talk.reply()).startswith("slow one base one | instructions ")
        assert [each["to_generation"] for each in talk.run.all("swapped")] == [3]
        assert await talk.say("slow") == "slow three base one | instructions three of reception"

        # A task, and the agent that waits for it.
        assert await talk.say("ask") == "1 question one"
        talk.save(("question one", "question two"), ("done one", "done two"), ("facts one", "facts two"))
        if reports_tools:
            waits = await talk.run.until("swap_waiting", to_generation=talk.generation)
            assert waits["tool"] == "ask"
        else:
            assert (await talk.swapped())["reached"] == "all"
        said = await talk.say("done")
        assert said.startswith("done one | " if reports_tools else "done two | ")
        assert (await talk.swapped())["reached"] == "all"
        assert (await talk.say("facts")).startswith("facts two 1 ")

        # A handoff: the tool ends as old code, and the agent that it builds gets the new code.
        running.unlink()
        go.unlink()
        talk.start("transfer")
        await until(running.exists)
        talk.save(("billing one", "billing two"), ("transfer one", "transfer two"))
        await talk.run.until("swap_waiting", to_generation=talk.generation)
        go.touch()
        assert (await talk.swapped())["reached"] == "all"
        await talk.run.until("handoff", to_agent="billing")
        await talk.reply()
        assert talk.run.all("tool_call")[-1]["output"] == "transfer one"
        assert await talk.say("hi") == "1 billing two"

        # After a handoff the current agent is swapped.
        await talk.swap(("billing two", "billing three"))
        assert await talk.say("hi") == "2 billing three"
        assert [each["to_agent"] for each in talk.run.all("handoff")][-1] == "billing"

        # An agent that older code builds after the swap gets the new code.
        await talk.swap(("billing three", "billing four"))
        (tmp_path / "late").touch()  # a task goes on with the classes that it knows
        await talk.run.until("handoff", 2, to_agent="billing")
        assert await talk.say("hi") == "1 billing four"


@sdk_in_turn()
async def test_a_shutdown_while_a_swap_waits(sdk_python: Path, tmp_path: Path) -> None:
    shutil.copytree(AGENTS / "sdk_swap", tmp_path, dirs_exist_ok=True, ignore=lambda *_: ["__pycache__"])
    file = tmp_path / "agent.py"
    arguments = ("--local", "--json", "--port", 0, "--say", "-", "--python", sdk_python)
    async with agent_tui(file, *arguments, cwd=tmp_path) as run:
        await run.until("message", turn=0)
        talk = Talk(run, tmp_path, "agent.py")
        talk.start("slow")
        await until((tmp_path / "running").exists)
        talk.save(("instructions one", "instructions two"))
        await run.until("swap_waiting")
        run.process.terminate()
        await run.until("swap_waiting", to_generation=None)
        (tmp_path / "go").touch()
        assert await run.end() == 143, run.stderr
    assert not run.all("swapped")
    (ended,) = run.all("job_ended")
    assert (ended["status"], ended["generation"]) == ("terminated", 1)


@sdk_in_turn()
async def test_a_pinned_call_keeps_its_code(sdk_python: Path, tmp_path: Path) -> None:
    async with talking(tmp_path, sdk_python, "--pin") as talk:
        assert (await talk.run.until("job_pinned"))["generation"] == 1
        talk.save(("instructions one", "instructions two"))
        await talk.run.until("generation_ready", generation=2)
        assert await talk.say("hi") == "1 instructions one of reception"
        assert talk.generations() == {1: 1}
    assert not talk.run.all("swapped")
