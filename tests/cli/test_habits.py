"""Module-level code of agent files: it decides how job processes start, and all of it works.

Each file takes long enough to load that a template is tried.
"""

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.cli.support import EXAMPLES, finished, save
from tests.cli.test_reload import Session, serving
from tests.limits import PATIENCE_S
from tests.sdks import sdk_in_turn

pytestmark = pytest.mark.real

JOBS = 4
NATIVE = """
import time
time.sleep(0.12)
{habit}

async def entry(ctx):
    print("job", ctx.job.room.name, {does}, flush=True)
"""
SDK = """
import time
from livekit.agents import AgentServer, JobContext, cli
time.sleep(0.12)
{habit}
server = AgentServer()

@server.rtc_session()
async def entry(ctx: JobContext):
    print("job", ctx.job.room.name, {does}, flush=True)
    ctx.shutdown("done")

if __name__ == "__main__":
    cli.run_app(server)
"""

THREAD = """
import threading
lock = threading.Lock()
def refresh():
    while True:
        with lock:
            time.sleep(0.005)
threading.Thread(target=refresh, daemon=True, name="refresh").start()
def value():
    with lock:
        return "ok"
"""
EXECUTOR = """
from concurrent.futures import ThreadPoolExecutor
pool = ThreadPoolExecutor(1)
pool.submit(int).result()
def value():
    return pool.submit(lambda: "ok").result(5)
"""
CONNECTION = """
import socket
line = socket.create_connection(("127.0.0.1", {port}))
def ask(word):
    line.sendall(word.encode() + b"\\n")
    return line.makefile().readline().strip()
"""
RANDOM = """
import random, uuid
drawn = random.random()
mark = uuid.uuid4()
"""
DOTENV = """
import os
from dotenv import load_dotenv
load_dotenv(override=True)
WORD = os.environ["WORD"]
"""


def write(folder: Path, text: str, habit: str, does: str) -> Path:
    file = folder / "agent.py"
    file.write_text(text.format(habit=habit, does=does))
    return file


def _said(session: Session, rooms: list[str]) -> dict[str, str]:
    texts = [event["text"].split(None, 2) for event in session.run.all("log")]
    return {words[1]: words[2] for words in texts if words[0] == "job" and words[1] in rooms}


async def said_by_jobs(session: Session, name: str = "room", count: int = JOBS) -> dict[str, str]:
    """Run jobs at the same time. Return what each one printed, by room."""
    rooms = [f"{name}-{number}" for number in range(count)]
    await asyncio.gather(*map(session.room, rooms))
    for room in rooms:
        end = await session.run.until("job_ended", room=room)
        assert end["status"] == "success"
    async with asyncio.timeout(PATIENCE_S):
        # A line comes by another pipe than the end of its job, and perhaps after it.
        while len(said := _said(session, rooms)) < count:
            await session.run.more()
    return said


@pytest.mark.parametrize(
    ("habit", "does", "leaves"),
    [(THREAD, "value()", "1 thread of refresh"), (EXECUTOR, "value()", "1 thread of ThreadPoolExecutor-0_0")],
    ids=["thread", "executor"],
)
async def test_a_thread_started_at_import_runs_in_each_job(
    tmp_path: Path, habit: str, does: str, leaves: str
) -> None:
    async with serving(write(tmp_path, NATIVE, habit, does)) as s:
        ready = await s.ready(1)
        assert ready["start_method"] == "fork"
        assert ready["start_reason"].startswith(f"loading leaves {leaves}, so each process loads the file; ")
        assert set((await said_by_jobs(s)).values()) == {"ok"}


@asynccontextmanager
async def echo() -> AsyncIterator[int]:
    """A server that echoes each line so late that lines of two jobs overlap. Yields its port."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while line := await reader.readline():
                await asyncio.sleep(0.02)
                writer.write(line)
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1")
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


async def test_a_connection_made_at_import_is_not_shared_between_jobs(tmp_path: Path) -> None:
    async with echo() as port:
        file = write(tmp_path, NATIVE, CONNECTION.format(port=port), "ask(ctx.job.room.name)")
        async with serving(file) as s:
            ready = await s.ready(1)
            assert ready["start_method"] == "fork"
            assert ready["start_reason"].startswith("loading leaves an open socket, ")
            assert all(room == answer for room, answer in (await said_by_jobs(s)).items())


NATIVE_OBJECT = """
from livekit import rtc
resampler = rtc.AudioResampler(48000, 24000)
def value():
    return len(resampler.push(bytearray(9600))) + len(resampler.flush()) > 0
"""
HTTP_SESSION = """
import asyncio, aiohttp
async def make():
    return aiohttp.ClientSession()
session = asyncio.new_event_loop().run_until_complete(make())
def value():
    return session.closed
"""


@sdk_in_turn()
async def test_objects_of_the_sdk_and_of_aiohttp_made_at_import_work_in_each_job(
    tmp_path: Path, sdk_python: Path
) -> None:
    """The process that imports the SDK serves both files."""
    file = write(tmp_path, SDK, HTTP_SESSION, "value()")
    async with serving(file, "--python", str(sdk_python)) as s:
        ready = await s.ready(1)
        assert ready["start_method"] == "fork"
        assert ready["start_reason"].startswith("loading leaves an open ")
        assert set((await said_by_jobs(s, "http")).values()) == {"False"}
        save(file, SDK.format(habit=NATIVE_OBJECT, does="value()"))
        ready = await s.ready(2)
        assert ready["start_method"] == "fork"
        assert "livekit.rtc's native runtime" in ready["start_reason"]
        assert set((await said_by_jobs(s, "rtc")).values()) == {"True"}


async def test_random_numbers_differ_between_jobs_and_those_drawn_at_import_are_reported(
    tmp_path: Path,
) -> None:
    async with serving(write(tmp_path, NATIVE, RANDOM, "drawn, mark, random.random(), uuid.uuid4()")) as s:
        ready = await s.ready(1)
        assert ready["start_method"] == "template"
        assert ready["start_reason"].endswith("; random values of agent.py:7 are the same in all jobs")
        drawn, marks, numbers, ids = zip(
            *(text.split() for text in (await said_by_jobs(s)).values()), strict=True
        )
        assert (len(set(drawn)), len(set(marks))) == (1, 1)
        assert (len(set(numbers)), len(set(ids))) == (JOBS, JOBS)


async def test_a_file_without_random_numbers_gives_no_warning(tmp_path: Path) -> None:
    async with serving(write(tmp_path, NATIVE, "import random, uuid, tempfile, ssl", "random.random()")) as s:
        ready = await s.ready(1)
        assert ready["start_method"] == "template"
        assert ready["start_reason"].endswith("; the template does it once")
        assert len(set((await said_by_jobs(s)).values())) == JOBS


async def test_dotenv_loaded_at_import_is_fresh_in_each_generation(tmp_path: Path) -> None:
    words = tmp_path / ".env"
    words.write_text("WORD=one\n")
    file = write(tmp_path, NATIVE, DOTENV, "WORD, os.environ['WORD']")
    async with serving(file, "--python", sys.executable) as s:
        assert (await s.ready(1))["start_method"] == "template"
        assert set((await said_by_jobs(s)).values()) == {"one one"}
        save(words, "WORD=two\n")
        assert (await s.ready(2))["cause"] == str(words)
        await s.job("after")
        await s.printed("job after two two")


async def test_a_second_of_imports_is_spent_once_per_generation_not_per_job(tmp_path: Path) -> None:
    habit = (
        "import os\ntime.sleep(1)\nwith open('loads.txt', 'a') as loads:\n    print(os.getpid(), file=loads)"
    )
    loads = tmp_path / "loads.txt"
    file = write(tmp_path, NATIVE, habit.replace("loads.txt", str(loads)), "'ran'")
    async with serving(file, "--num-idle-processes", "2") as s:
        ready = await s.ready(1)
        assert (ready["start_method"], ready["start_reason"]) == (
            "template",
            "loading takes 1.1 s; the template does it once",
        )
        assert set((await said_by_jobs(s)).values()) == {"ran"}
        assert len(loads.read_text().split()) == 2  # the control process and the template


async def test_a_plain_secret_on_the_command_line_gives_a_warning_and_a_file_does_not(tmp_path: Path) -> None:
    secret = "a-secret-that-is-long-enough-for-it"
    (tmp_path / "secret").write_text(f"{secret}\n")
    clear, from_file = f"--api-secret={secret}", f"--api-secret=@{tmp_path / 'secret'}"
    for flag, warned in ((clear, True), (from_file, False)):
        _, run = await finished(
            EXAMPLES / "native_agent.py", "--local", "--json", "--exit-when-idle", "--dispatch=1", flag
        )
        told = [e["text"] for e in run.all("log") if "on the command line: all users" in e["text"]]
        assert bool(told) is warned
        assert secret not in str(run.events)
