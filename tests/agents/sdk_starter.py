"""livekit-agents, in the style of its starter project: a session, a model, a caller to wait for."""

import json
import logging

from livekit.agents import (
    DEFAULT_API_CONNECT_OPTIONS,
    Agent,
    AgentServer,
    AgentSession,
    JobContext,
    JobProcess,
    cli,
    llm,
)

logger = logging.getLogger("agent")


class Parrot(llm.LLM):
    """Says what it was told, without a network."""

    def chat(self, *, chat_ctx, tools=None, conn_options=DEFAULT_API_CONNECT_OPTIONS, **_):
        return Saying(self, chat_ctx=chat_ctx, tools=tools or [], conn_options=conn_options)


class Saying(llm.LLMStream):
    async def _run(self):
        said = [each for each in self._chat_ctx.items if each.type == "message" and each.role == "user"]
        delta = llm.ChoiceDelta(role="assistant", content=f"You said: {said[-1].text_content}")
        self._event_ch.send_nowait(llm.ChatChunk(id="1", delta=delta))


class Assistant(Agent):
    def __init__(self):
        super().__init__(instructions="Repeat what the caller says.", llm=Parrot())


def prewarm(proc: JobProcess):
    proc.userdata["greeting"] = "Hello"


server = AgentServer(setup_fnc=prewarm)


@server.rtc_session(agent_name="starter")
async def entry(ctx: JobContext):
    ctx.log_context_fields = {"room": ctx.room.name}
    session = AgentSession()
    await session.start(agent=Assistant(), room=ctx.room)
    session.output.set_audio_enabled(False)  # it has no voice
    await ctx.connect()
    caller = await ctx.wait_for_participant()
    plan = caller.attributes.get("plan", "free")
    others = [each.identity for each in ctx.room.remote_participants.values()]
    logger.info("the caller is here")
    print(json.dumps([caller.identity, caller.metadata, plan, caller.attributes, others]))
    await session.generate_reply(user_input=f"{ctx.proc.userdata['greeting']}, {caller.identity}")
    print(session.history.items[-1].text_content)
    ctx.shutdown("x")


if __name__ == "__main__":
    cli.run_app(server)
