"""An agent whose code tests change while it talks."""

import asyncio
from pathlib import Path

import scripted
from livekit.agents import Agent, AgentServer, AgentSession, AgentTask, JobContext, cli, function_tool
from prices import PRICE

server = AgentServer()
calls = []


class Base(Agent):
    def greeting(self):
        return "base one"


class Desk(Base):
    label = "label one"

    def __init__(self, name="desk"):
        super().__init__(instructions=f"instructions one of {name}")
        self.count = 0

    async def on_enter(self):
        self.session.generate_reply()

    @function_tool
    async def facts(self) -> str:
        """Return what this code knows."""
        self.count += 1
        calls.append(self.count)
        return f"facts one {self.count} {self.label} {self.greeting()} {PRICE} {len(scripted.STARTS)}"

    @function_tool
    async def slow(self) -> str:
        """Wait for a file, and then call the base class."""
        Path(__file__).with_name("running").touch()
        while not Path(__file__).with_name("go").exists():
            await asyncio.sleep(0.02)
        return f"slow one {super().greeting()}"

    @function_tool
    async def billing(self):
        """Hand over."""
        return Billing(), "with billing"

    @function_tool
    async def transfer(self):
        """Wait for a file, and then hand over."""
        Path(__file__).with_name("running").touch()
        while not Path(__file__).with_name("go").exists():
            await asyncio.sleep(0.02)
        return Billing(), "transfer one"

    @function_tool
    async def ask(self) -> str:
        """Run a task that talks to the user."""
        return await Question()


class Billing(Agent):
    def __init__(self):
        super().__init__(instructions="billing one")


class Question(AgentTask[str]):
    def __init__(self):
        super().__init__(instructions="question one")

    async def on_enter(self):
        self.session.generate_reply(user_input="hi")

    @function_tool
    async def done(self):
        """End the task."""
        self.complete("done one")


@server.rtc_session()
async def entry(ctx: JobContext):
    await ctx.connect()
    session = AgentSession(llm=scripted.Scripted())
    await session.start(Desk("reception"), room=ctx.room)

    async def hand_over_late():
        while not Path(__file__).with_name("late").exists():
            await asyncio.sleep(0.02)
        session.update_agent(Billing())

    ctx.late = asyncio.create_task(hand_over_late())


if __name__ == "__main__":
    cli.run_app(server)
