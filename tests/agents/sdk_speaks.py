"""Speaks without keys: its VAD and STT hear tones, its LLM is a script, and its TTS plays a tone.

Each component takes a known time, so that the parts of a turn's latency are known.
"""

import array
import asyncio
import math
import time

from livekit.agents import (
    Agent,
    AgentServer,
    AgentSession,
    JobContext,
    cli,
    function_tool,
    llm,
    stt,
    tts,
    vad,
)

RATE = 24_000
STT_S, HOOK_S, LLM_S, TOOL_S, TTS_S = 0.05, 0.03, 0.15, 0.12, 0.1
"""How long each component takes, in seconds."""

LOUD = 1_000
"""From which amplitude on a frame counts as speech."""

SPEECH_S, SILENCE_S = 0.05, 0.25
"""How much of each the VAD needs to decide, in seconds."""

server = AgentServer()


class ToneVAD(vad.VAD):
    def __init__(self):
        super().__init__(capabilities=vad.VADCapabilities(update_interval=0.05))

    def stream(self):
        return ToneStream(self)


class ToneStream(vad.VADStream):
    speaking, speech_s, silence_s, samples = False, 0.0, 0.0, 0

    async def _main_task(self):
        spoken = []
        async for frame in self._input_ch:
            if isinstance(frame, self._FlushSentinel):
                continue
            self.samples += frame.samples_per_channel
            loud = max(map(abs, array.array("h", bytes(frame.data))), default=0) >= LOUD
            if loud or self.speaking:
                spoken.append(frame)
            self.speech_s += frame.duration if loud else 0.0
            self.silence_s = 0.0 if loud else self.silence_s + frame.duration
            if not self.speaking and self.speech_s >= SPEECH_S:
                self.speaking = True
                self.report(vad.VADEventType.START_OF_SPEECH, [frame], loud)
            self.report(vad.VADEventType.INFERENCE_DONE, [frame], loud)
            if self.speaking and self.silence_s >= SILENCE_S:
                self.speaking = False
                self.report(vad.VADEventType.END_OF_SPEECH, spoken, loud)
                self.speech_s, spoken = 0.0, []

    def report(self, kind, frames, loud):
        event = vad.VADEvent(
            type=kind,
            samples_index=self.samples,
            timestamp=time.time(),
            speech_duration=self.speech_s,
            silence_duration=self.silence_s,
            frames=frames,
            speaking=self.speaking,
            raw_accumulated_speech=self.speech_s if loud else 0.0,
            raw_accumulated_silence=self.silence_s,
        )
        self._event_ch.send_nowait(event)


class CountingSTT(stt.STT):
    """Hears `turn 1`, `turn 2`, and so on."""

    def __init__(self):
        super().__init__(capabilities=stt.STTCapabilities(streaming=False, interim_results=False))
        self.count = 0

    async def _recognize_impl(self, buffer, *, language=None, conn_options=None):
        self.count += 1
        heard = f"turn {self.count}" + (" weather" if self.count == 5 else "")
        await asyncio.sleep(STT_S)
        return stt.SpeechEvent(
            type=stt.SpeechEventType.FINAL_TRANSCRIPT,
            alternatives=[stt.SpeechData(language="en", text=heard)],
        )


class Scripted(llm.LLM):
    def chat(self, *, chat_ctx, tools=None, conn_options=None, **kwargs):
        return Stream(self, chat_ctx=chat_ctx, tools=tools or [], conn_options=conn_options)


class Stream(llm.LLMStream):
    async def _run(self):
        items = [item for item in self._chat_ctx.items if item.type != "agent_config_update"]
        said = next(
            (i.text_content or "" for i in reversed(items) if i.type == "message" and i.role == "user"), ""
        )
        await asyncio.sleep(LLM_S)
        if items[-1].type == "function_call_output":
            delta = llm.ChoiceDelta(role="assistant", content=f"It is {items[-1].output}.")
        elif "weather" in said:
            call = llm.FunctionToolCall(name="weather", arguments="{}", call_id=f"call-{len(items)}")
            delta = llm.ChoiceDelta(role="assistant", tool_calls=[call])
        else:
            delta = llm.ChoiceDelta(role="assistant", content=f"Reply to {said}.")
        self._event_ch.send_nowait(llm.ChatChunk(id="1", delta=delta))
        usage = llm.CompletionUsage(
            completion_tokens=3, prompt_tokens=len(items), total_tokens=3 + len(items)
        )
        self._event_ch.send_nowait(llm.ChatChunk(id="1", usage=usage))


class ToneTTS(tts.TTS):
    def __init__(self):
        super().__init__(capabilities=tts.TTSCapabilities(streaming=False), sample_rate=RATE, num_channels=1)

    def synthesize(self, text, *, conn_options=None):
        return Tone(tts=self, input_text=text, conn_options=conn_options)


class Tone(tts.ChunkedStream):
    async def _run(self, output_emitter):
        await asyncio.sleep(TTS_S)
        output_emitter.initialize(
            request_id="1", sample_rate=RATE, num_channels=1, mime_type="audio/pcm", frame_size_ms=20
        )
        wave = (int(12_000 * math.sin(2 * math.pi * 440 * n / RATE)) for n in range(RATE * 2 // 5))
        output_emitter.push(array.array("h", wave).tobytes())
        output_emitter.flush()


class Speaker(Agent):
    def __init__(self):
        super().__init__(instructions="speaker")

    async def on_user_turn_completed(self, turn_ctx, new_message):
        await asyncio.sleep(HOOK_S)

    @function_tool
    async def weather(self) -> str:
        """Return the weather."""
        await asyncio.sleep(TOOL_S)
        return "sunny"


@server.rtc_session()
async def entry(ctx: JobContext):
    session = AgentSession(
        vad=ToneVAD(),
        stt=CountingSTT(),
        llm=Scripted(),
        tts=ToneTTS(),
        turn_detection="vad",
        min_endpointing_delay=0.3,
        preemptive_generation=False,
    )
    await session.start(Speaker(), room=ctx.room)
    await ctx.connect()


if __name__ == "__main__":
    cli.run_app(server)
