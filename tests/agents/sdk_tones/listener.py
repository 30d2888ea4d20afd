"""Joins a room and listens: `listener.py URL TOKEN`. Prints one JSON line per frame of 10 ms and per event.

A frame is [when it arrived in Unix seconds, its loudness, its tone in Hz].
"""

import asyncio
import itertools
import json
import sys
import time
from array import array

from livekit import rtc

RATE = 16_000


def say(*what):
    print(json.dumps(what), flush=True)


async def listen(track):
    stream = rtc.AudioStream(track, sample_rate=RATE, num_channels=1, frame_size_ms=10)
    say("listening")
    kept = array("h")
    async for event in stream:
        samples = array("h", bytes(event.frame.data))
        kept = (kept + samples)[-RATE // 10 :]
        rising = sum(a < 0 <= b for a, b in itertools.pairwise(kept))
        loudness = (sum(each * each for each in samples) / len(samples)) ** 0.5
        say(time.time(), round(loudness), round(rising * RATE / len(kept)))


async def main():
    room, tasks = rtc.Room(), set()
    room.on("track_subscribed", lambda track, *_: tasks.add(asyncio.ensure_future(listen(track))))
    for name in ("participant_disconnected", "track_unpublished", "track_muted", "disconnected"):
        room.on(name, lambda *_, name=name: say(name))
    await room.connect(*sys.argv[1:])
    await asyncio.Event().wait()


asyncio.run(main())
