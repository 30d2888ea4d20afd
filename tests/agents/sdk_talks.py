"""Talks without keys: what its scripted LLM does depends on what the user says.

TALK_SESSIONS is the number of sessions of a job, and with TALK_TTS they have a TTS that always fails.
"""

import asyncio
import json
import os
import signal

from livekit.agents import Agent, AgentServer, AgentSession, JobContext, cli, function_tool, llm, tts

server = AgentServer()


class Scripted(llm.LLM):
    def chat(self, *, chat_ctx, tools=None, conn_options=None, **kwargs):
        return Stream(self, chat_ctx=chat_ctx, tools=tools or [], conn_options=conn_options)


class Stream(llm.LLMStream):
    async def _run(self):
        items = [item for item in self._chat_ctx.items if item.type != "agent_config_update"]
        texts = [item.text_content or "" for item in items if item.type == "message" and item.role == "user"]
        said, last = (texts or [""])[-1], items[-1]
        if last.type == "function_call_output":
            self._say(f"It is {last.output}.")
        elif tool := next((name for name in ("weather", "stuck", "fails", "billing") if name in said), ""):
            call = llm.FunctionToolCall(name=tool, arguments="{}", call_id=f"call-{len(items)}")
            self._send(llm.ChoiceDelta(role="assistant", tool_calls=[call]))
        elif "hang" in said:
            await asyncio.sleep(3600)
        elif "die" in said:
            os.kill(os.getpid(), signal.SIGKILL)
        elif "raise" in said:
            raise ValueError("no such model")
        elif "long" in said:
            for _ in range(64):
                self._say("x" * 16_384)
                await asyncio.sleep(0)
        elif not said:
            self._say("Hello!")
        else:
            self._say(f"reply {len(texts)} to {said}")
        usage = llm.CompletionUsage(
            completion_tokens=1, prompt_tokens=len(items), total_tokens=1 + len(items)
        )
        self._event_ch.send_nowait(llm.ChatChunk(id="1", usage=usage))

    def _say(self, text):
        self._send(llm.ChoiceDelta(role="assistant", content=text))

    def _send(self, delta):
        self._event_ch.send_nowait(llm.ChatChunk(id="1", delta=delta))


class FailingTTS(tts.TTS):
    def __init__(self):
        super().__init__(capabilities=tts.TTSCapabilities(streaming=False), sample_rate=24000, num_channels=1)

    def synthesize(self, text, **kwargs):
        raise ValueError("the TTS was called")


class Billing(Agent):
    def __init__(self):
        super().__init__(instructions="billing")


class Talker(Agent):
    def __init__(self):
        super().__init__(instructions="talker")

    async def on_enter(self):
        self.session.generate_reply()

    @function_tool
    async def weather(self) -> str:
        """Return the weather."""
        await asyncio.sleep(0.05)
        return "sunny"

    @function_tool
    async def stuck(self) -> str:
        """Never return."""
        await asyncio.sleep(3600)
        return ""

    @function_tool
    async def fails(self) -> str:
        """Raise."""
        raise ValueError(json.dumps("no weather"))

    @function_tool
    async def billing(self):
        """Hand over."""
        return Billing(), "with billing"


@server.rtc_session()
async def entry(ctx: JobContext):
    await ctx.connect()
    more = {"tts": FailingTTS()} if os.environ.get("TALK_TTS") else {}
    for number in range(int(os.environ.get("TALK_SESSIONS", "1"))):
        session = AgentSession(llm=Scripted(), **more)
        if number == 0:
            await session.start(Talker(), room=ctx.room)
        else:
            await session.start(Talker())


if __name__ == "__main__":
    cli.run_app(server)
