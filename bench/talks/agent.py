"""Talks to itself with a scripted LLM, and writes what that cost its process (bench/talk.py)."""

import asyncio
import json
import os
import time

from livekit.agents import Agent, AgentServer, AgentSession, JobContext, cli, llm

server = AgentServer()
TURNS, PAUSE_S = 25, 0.15
TEXT = "The quick brown fox jumps over the lazy dog, and comes back for more every day."


class Scripted(llm.LLM):
    def chat(self, *, chat_ctx, tools=None, conn_options=None, **kwargs):
        return Stream(self, chat_ctx=chat_ctx, tools=tools or [], conn_options=conn_options)


class Stream(llm.LLMStream):
    async def _run(self):
        for at in range(0, len(TEXT), 5):
            delta = llm.ChoiceDelta(role="assistant", content=TEXT[at : at + 5])
            self._event_ch.send_nowait(llm.ChatChunk(id="1", delta=delta))
            await asyncio.sleep(0)


def private_mb() -> float:
    """Return the memory that only this process has."""
    with open("/proc/self/smaps_rollup") as file:
        return sum(int(line.split()[1]) for line in file if line.startswith("Private_")) / 1024


@server.rtc_session()
async def entry(ctx: JobContext):
    session = AgentSession(llm=Scripted(), vad=None, turn_detection="manual")
    session.input.set_audio_enabled(False)
    session.output.set_audio_enabled(False)
    await session.start(agent=Agent(instructions="talk"), room=ctx.room)
    await asyncio.sleep(1)
    before = time.process_time()
    for turn in range(TURNS):
        await session.generate_reply(user_input=f"turn {turn}")
        await asyncio.sleep(PAUSE_S)
    cost = {"cpu_ms": (time.process_time() - before) * 1000 / TURNS, "mb": private_mb()}
    with open(os.environ["BENCH_OUT"], "w") as file:
        json.dump(cost, file)
    ctx.shutdown("measured")


if __name__ == "__main__":
    cli.run_app(server)
