"""Talks by a realtime model without a provider: it repeats its instructions and what the user said.

A turn with "weather" calls a tool. REALTIME_AUDIO=1 makes a model that answers in audio with a transcript.
"""

import asyncio
import os

from livekit.agents import Agent, AgentServer, AgentSession, JobContext, cli, function_tool, llm

server = AgentServer()
AUDIO = bool(os.environ.get("REALTIME_AUDIO"))


class Model(llm.RealtimeModel):
    def __init__(self):
        known = {
            "message_truncation": False,
            "turn_detection": False,
            "user_transcription": False,
            "auto_tool_reply_generation": False,
            "audio_output": AUDIO,
            "manual_function_calls": False,
            "mutable_chat_context": True,
            "mutable_instructions": True,
            "mutable_tools": True,
        }
        fields = llm.RealtimeCapabilities.__dataclass_fields__
        super().__init__(
            capabilities=llm.RealtimeCapabilities(**{k: v for k, v in known.items() if k in fields})
        )

    def session(self, **_):
        return Connection(self)

    async def aclose(self):
        pass


class Connection(llm.RealtimeSession):
    def __init__(self, model):
        super().__init__(model)
        self._context, self._tools, self._instructions = llm.ChatContext.empty(), llm.ToolContext.empty(), ""

    @property
    def chat_ctx(self):
        return self._context

    @property
    def tools(self):
        return self._tools

    async def update_instructions(self, instructions):
        self._instructions = str(instructions)

    async def update_chat_ctx(self, chat_ctx):
        self._context = chat_ctx.copy()

    async def update_tools(self, tools):
        self._tools = llm.ToolContext(tools)

    def update_options(self, **_):
        pass

    def push_audio(self, frame):
        pass

    def push_video(self, frame):
        pass

    def generate_reply(self, **_):
        future = asyncio.get_running_loop().create_future()
        items = [item for item in self._context.items if item.type in ("message", "function_call_output")]
        said = [item for item in items if item.type == "message" and item.role == "user"]
        call = ""
        if items and items[-1].type == "function_call_output":
            text = f"It is {items[-1].output}."
        elif said and "weather" in said[-1].text_content:
            text, call = "", "weather"
        else:
            text = f"{self._instructions} heard {said[-1].text_content if said else 'nothing'}"
        future.set_result(
            llm.GenerationCreatedEvent(
                message_stream=self._messages(text),
                function_stream=self._calls(call),
                user_initiated=True,
                response_id=f"response-{len(items)}",
            )
        )
        return future

    async def _messages(self, text):
        if not text:
            return
        modalities = asyncio.get_running_loop().create_future()
        modalities.set_result(["audio", "text"] if AUDIO else ["text"])
        yield llm.MessageGeneration(
            message_id=f"message-{len(self._context.items)}",
            text_stream=each(text.split(" ")),
            audio_stream=each([]),
            modalities=modalities,
        )

    async def _calls(self, name):
        if name:
            yield llm.FunctionCall(call_id=f"call-{len(self._context.items)}", name=name, arguments="{}")

    def commit_audio(self):
        pass

    def clear_audio(self):
        pass

    def interrupt(self):
        pass

    def truncate(self, **_):
        pass

    async def aclose(self):
        pass


async def each(values):
    for number, value in enumerate(values):
        yield f" {value}" if number else value


class Desk(Agent):
    def __init__(self):
        super().__init__(instructions="one")

    @function_tool
    async def weather(self) -> str:
        """Return the weather."""
        return "sunny one"


@server.rtc_session()
async def entry(ctx: JobContext):
    session = AgentSession(llm=Model())
    await session.start(agent=Desk(), room=ctx.room)


if __name__ == "__main__":
    cli.run_app(server)
