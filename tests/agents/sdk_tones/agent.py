"""An agent that speaks tones: each reply is one of 10 s. Tests change the code while it speaks."""

import math
from array import array

import scripted
from livekit import rtc
from livekit.agents import Agent, AgentServer, AgentSession, JobContext, cli

server = AgentServer()
RATE, FRAMES_PER_S, SECONDS = 48_000, 50, 10


class Speaker(Agent):
    hertz = 400

    def __init__(self):
        super().__init__(instructions="version 0")

    async def tts_node(self, text, model_settings):
        async for _ in text:
            pass
        size, hertz = RATE // FRAMES_PER_S, self.hertz  # a frame has whole periods
        tone = array("h", (round(9000 * math.sin(2 * math.pi * hertz * at / RATE)) for at in range(size)))
        for _ in range(SECONDS * FRAMES_PER_S):
            yield rtc.AudioFrame(tone.tobytes(), RATE, 1, size)


@server.rtc_session()
async def entry(ctx: JobContext):
    await ctx.connect()
    await AgentSession(llm=scripted.Scripted()).start(Speaker(), room=ctx.room)


if __name__ == "__main__":
    cli.run_app(server)
