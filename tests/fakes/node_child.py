"""Imitates the job process of agents-js without Node: its channel and its behavior (agents-js.md §7, §8).

`python node_child.py BEHAVIOUR ORPHAN_S`. Messages without a value have no `value`. Loading and the call of
the entry function are not reported. If prewarm fails, the process exits silently with code 0. The end of the
channel does not stop it, but a timer does that each ping restarts.
"""

import asyncio
import json
import os
import socket
import sys
import time
from typing import Any


class Child:
    def __init__(self, behaviour: str, orphan_s: float) -> None:
        self.behaviour = behaviour
        self.orphan_s = orphan_s
        self.job: asyncio.Task[None] | None = None
        self.over = asyncio.Event()
        self.shutdown = asyncio.Event()
        self.reason = ""

    def say(self, case: str, **value: Any) -> None:
        message = {"case": case, **({"value": value} if value else {})}
        self.writer.write(json.dumps(message).encode() + b"\n")

    async def run(self) -> None:
        sock = socket.socket(fileno=int(os.environ.pop("NODE_CHANNEL_FD")))
        self.reader, self.writer = await asyncio.open_connection(sock=sock)
        first = json.loads(await self.reader.readline())
        assert first["case"] == "initializeRequest"
        assert first["value"]["sessionEndTimeout"] >= 0
        if self.behaviour == "prewarm fails":
            return
        self.say("initializeResponse")
        self.pinged()
        reading = asyncio.create_task(self.read())
        await self.over.wait()
        reading.cancel()
        await self.writer.drain()

    def pinged(self) -> None:
        self.last = time.monotonic()
        asyncio.get_running_loop().call_later(self.orphan_s, self.orphaned, self.last)

    def orphaned(self, since: float) -> None:
        if self.last == since:
            self.over.set()

    async def read(self) -> None:
        while line := await self.reader.readline():
            message = json.loads(line)
            getattr(self, message["case"])(message.get("value") or {})

    def pingRequest(self, value: dict[str, Any]) -> None:
        self.pinged()
        self.say("pongResponse", lastTimestamp=value["timestamp"], timestamp=int(time.time() * 1000))

    def shutdownRequest(self, value: dict[str, Any]) -> None:
        self.say("shutdownRequestAck")
        if self.job is None:
            self.say("shuttingDown")
            self.over.set()
        self.reason = value.get("reason", "shutdown request")
        self.shutdown.set()

    def startJobRequest(self, value: dict[str, Any]) -> None:
        assert value["runningJob"]["job"]["type"] == "JT_ROOM"
        assert isinstance(value["runningJob"]["job"]["room"]["creationTime"], str)
        sys.stdout.write(f"entered {value['runningJob']['job']['room']['name']}\n")
        self.job = asyncio.create_task(self.run_job())

    async def run_job(self) -> None:
        if self.behaviour == "raises":
            self.reason = "job crashed"
        else:
            await self.shutdown.wait()
        self.say("exiting", reason=self.reason)
        self.say("shuttingDown")
        self.say("done")
        self.over.set()


if __name__ == "__main__":
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
    asyncio.run(Child(sys.argv[1], float(sys.argv[2])).run())
