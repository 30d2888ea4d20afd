"""An agent that talks without keys: its LLM is a script. Run it with `make talk`, and type to it.

While you talk, change the instructions, `find_rooms`, or `ROOMS`, and save: the next turn runs on that code.
The script below is the session's LLM, which stays the one with which the session started (docs/swap.md).

Replace `ScriptedLLM()` by your model, such as `openai.LLM()`, and the rest stays as it is.
"""

import asyncio
import json

from livekit.agents import Agent, AgentServer, AgentSession, JobContext, RunContext, cli, function_tool, llm

server = AgentServer()

ROOMS = {"friday": ["garden view, 90 €", "attic, 75 €"], "saturday": ["attic, 75 €"]}


class Receptionist(Agent):
    """The front desk of a small hotel."""

    def __init__(self) -> None:
        super().__init__(
            instructions="You are the front desk of a small hotel. Answer in one or two sentences."
        )

    async def on_enter(self) -> None:
        self.session.generate_reply(instructions="Greet the guest.")

    @function_tool
    async def find_rooms(self, context: RunContext, day: str) -> list[str]:
        """Return the free rooms of a day."""
        await asyncio.sleep(0.2)
        return ROOMS.get(day.lower(), [])


@server.rtc_session()
async def entry(ctx: JobContext) -> None:
    session = AgentSession(llm=ScriptedLLM())
    await session.start(Receptionist(), room=ctx.room)
    await ctx.connect()


class ScriptedLLM(llm.LLM):
    """Answers from a script, word by word, as a model would."""

    def chat(self, *, chat_ctx, tools=None, conn_options=None, **kwargs):
        return ScriptedStream(self, chat_ctx=chat_ctx, tools=tools or [], conn_options=conn_options)


class ScriptedStream(llm.LLMStream):
    async def _run(self) -> None:
        # A save that changes the instructions adds an item, too.
        items = [
            i for i in self._chat_ctx.items if i.type in ("message", "function_call", "function_call_output")
        ]
        said = next(
            (i.text_content or "" for i in reversed(items) if i.type == "message" and i.role == "user"), ""
        )
        told = next((i.text_content or "" for i in items if i.type == "message" and i.role == "system"), "")
        output = items[-1] if items and items[-1].type == "function_call_output" else None
        day = next((day for day in ROOMS if day in said.lower()), "")
        if output is not None:
            rooms = output.output
            await self._say(
                f"These rooms are free: {rooms}." if rooms != "[]" else "I am sorry, we are full."
            )
        elif day:
            call = llm.FunctionToolCall(
                name="find_rooms", arguments=json.dumps({"day": day}), call_id=f"call-{len(items)}"
            )
            self._event_ch.send_nowait(
                llm.ChatChunk(id="1", delta=llm.ChoiceDelta(role="assistant", tool_calls=[call]))
            )
        elif not said:
            await self._say("Good evening, this is the front desk. How can I help you?")
        else:
            await self._say(f"You said: {said} Ask me for a room on Friday or Saturday. My orders: {told}")
        usage = llm.CompletionUsage(
            completion_tokens=12, prompt_tokens=40 + 9 * len(items), total_tokens=52 + 9 * len(items)
        )
        self._event_ch.send_nowait(llm.ChatChunk(id="1", usage=usage))

    async def _say(self, text: str) -> None:
        for word in text.split(" "):
            delta = llm.ChoiceDelta(role="assistant", content=f"{word} ")
            self._event_ch.send_nowait(llm.ChatChunk(id="1", delta=delta))
            await asyncio.sleep(0.03)


if __name__ == "__main__":
    cli.run_app(server)
