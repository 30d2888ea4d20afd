"""A participant of a room, for tests: speaks tones, and records what it hears. Runs on an SDK's Python.

    python participant.py URL TOKEN TURNS

Prints a JSON line for each turn: `said` and `heard` are when its tone ended and the reply's first audio came,
in Unix seconds, and `silence_ms` is the silence between them. Leaves the room at the end of standard input.
"""

import array
import asyncio
import json
import math
import sys
import time

from livekit import rtc

RATE, FRAME_S = 48_000, 0.01
TONE_S = 0.5
LOUD = 1_000
QUIET_S = 0.8
"""For how long nothing is heard before the reply counts as complete, in seconds."""

WAIT_S = 15.0
"""How long the participant waits for the agent, in seconds."""


def frame(number: int | None) -> rtc.AudioFrame:
    """Return a frame of silence, or the given one of a tone."""
    count = int(RATE * FRAME_S)
    start = (number or 0) * count
    wave = (
        0 if number is None else int(9_000 * math.sin(2 * math.pi * 300 * (start + n) / RATE))
        for n in range(count)
    )
    return rtc.AudioFrame(array.array("h", wave).tobytes(), RATE, 1, count)


class Participant:
    def __init__(self) -> None:
        self.source = rtc.AudioSource(RATE, 1, queue_size_ms=50)
        self.tone: list[rtc.AudioFrame] = []
        self.said = asyncio.Event()
        self.said_at = 0.0
        self.loud_at: list[float] = []
        self.follows = asyncio.Event()
        self.tasks: list[asyncio.Task[None]] = []

    async def run(self, url: str, token: str, turns: int) -> None:
        room = rtc.Room()
        room.on("track_subscribed", self.subscribed)
        await room.connect(url, token)
        track = rtc.LocalAudioTrack.create_audio_track("tones", self.source)
        options = rtc.TrackPublishOptions(source=rtc.TrackSource.SOURCE_MICROPHONE)
        self.tasks.append(asyncio.create_task(self.speak()))
        await room.local_participant.publish_track(track, options)
        async with asyncio.timeout(WAIT_S):
            await self.follows.wait()
        await asyncio.sleep(1.0)  # the agent subscribes to the track
        for _ in range(turns):
            await self.turn()
        await asyncio.to_thread(sys.stdin.read)  # leaving would end the session
        await room.disconnect()

    def subscribed(self, track: rtc.Track, *_: object) -> None:
        if track.kind == rtc.TrackKind.KIND_AUDIO:
            self.tasks.append(asyncio.create_task(self.listen(track)))
            self.follows.set()

    async def turn(self) -> None:
        self.loud_at.clear()
        self.said.clear()
        self.tone = [frame(number) for number in range(int(TONE_S / FRAME_S))]
        await self.said.wait()
        async with asyncio.timeout(WAIT_S):
            while not self.said_at < max(self.loud_at, default=0.0) < time.time() - QUIET_S:
                await asyncio.sleep(FRAME_S)
        heard = next(at for at in self.loud_at if at > self.said_at)
        silence = (heard - self.said_at) * 1000
        print(json.dumps({"said": self.said_at, "heard": heard, "silence_ms": silence}), flush=True)

    async def speak(self) -> None:
        """Publish tones and silence at the pace of a microphone."""
        silence, next_at = frame(None), time.monotonic()
        while True:
            tone = self.tone.pop(0) if self.tone else None
            await self.source.capture_frame(tone or silence)
            next_at += FRAME_S
            if tone is not None and not self.tone:
                self.said_at = time.time() + FRAME_S  # the frame lasts that long
                self.said.set()
            await asyncio.sleep(max(next_at - time.monotonic(), 0.0))

    async def listen(self, track: rtc.Track) -> None:
        async for event in rtc.AudioStream(track, sample_rate=RATE, num_channels=1):
            if max(map(abs, array.array("h", bytes(event.frame.data)))) >= LOUD:
                self.loud_at.append(time.time())


async def main() -> None:
    await Participant().run(sys.argv[1], sys.argv[2], int(sys.argv[3]))


if __name__ == "__main__":
    asyncio.run(main())
