"""What a save costs: rooms are made every 100 ms while the agent file is saved again and again.

Each save comes at least 2 s after the one before, every second one by atomic rename. Printed for each
worker, from outside: the last entry on old code and the first on new one after the save was on disk,
entries on old code after the first on new one, dispatches that came to no entry, memory. `--broken` saves
files that do not load instead: what is served meanwhile and how soon it is told, `--screen` how soon it is
seen on a terminal. `--storm` saves each 0.5 s and prints what grew.

    python bench/reload.py [--saves 50] [--kinds native sdk sdk-20] [--methods fork template spawn]
    python bench/reload.py --broken --saves 20 --screen
    python bench/reload.py --storm --saves 200
    python bench/reload.py --kinds sdk --saves 6 --peers dev lk [--lk PATH]
    python bench/reload.py --kinds js ts --every 1
"""

import argparse
import asyncio
import json
import os
import random
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import rig
from terminal import Terminal

LEAD_S = 2.0
"""Dispatches go on for this long before each save."""
FOLLOW_S = 0.5
STORM_EVERY_S = 0.5


@asynccontextmanager
async def dispatching(
    place: rig.Place, project: rig.Project, options: argparse.Namespace
) -> AsyncIterator[None]:
    """Dispatches meanwhile, and then waits for their entries: what comes to none within the limit is lost."""
    task = asyncio.create_task(place.dispatch_every(options.every))
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        deadline = time.monotonic() + options.limit
        while lost(place, project) and time.monotonic() < deadline:  # noqa: ASYNC110  it notes them in a file
            await asyncio.sleep(0.1)


async def until_entry(project: rig.Project, version: int, limit_s: float) -> None:
    """Returns when a job runs that version, or gives up."""
    deadline = time.monotonic() + limit_s
    while time.monotonic() < deadline:
        if any(entry.version >= version for entry in project.entries()[-20:]):
            return
        await asyncio.sleep(0.02)


# -- saves that load -----------------------------------------------------------------------------------------


async def saves(
    place: rig.Place, worker: rig.Worker, project: rig.Project, options: argparse.Namespace
) -> None:
    saved: dict[int, float] = {}
    before = rig.cost(worker.process.pid)
    async with dispatching(place, project, options):
        for version in range(2, options.saves + 2):
            await asyncio.sleep(LEAD_S + random.random() * options.every)
            saved[version] = project.save(version, rename=version % 2 == 0)
            await until_entry(project, version, options.limit)
            await asyncio.sleep(FOLLOW_S)
        after = rig.cost(worker.process.pid)
    tell_saves(project.entries(), saved)
    if worker.tells:
        tell_ready(worker.events())
    tell_lost(place, project, worker)
    print(f"  before              {before}\n  after               {after}")


def tell_saves(entries: list[rig.Entry], saved: dict[int, float]) -> None:
    last_old, first_new, behind, never = [], [], 0, 0
    for version, at in saved.items():
        until = saved.get(version + 1, float("inf"))
        olds = [e.at - at for e in entries if e.version < version and at < e.at < until]
        news = [e.at - at for e in entries if e.version == version]
        last_old.append(max(olds, default=0.0))
        if not news:
            never += 1
            continue
        first_new.append(news[0])
        behind += sum(old > news[0] for old in olds)
    print(f"  last entry on old   {rig.spread(last_old)}")
    print(f"  first entry on new  {rig.spread(first_new)}")
    print(f"  old after new       {behind} jobs; saves that no job ever ran: {never}")


def lost(place: rig.Place, project: rig.Project) -> set[str]:
    """Rooms without an entry."""
    return place.asked.keys() - {entry.room for entry in project.entries()}


def tell_lost(place: rig.Place, project: rig.Project, worker: rig.Worker) -> None:
    rooms = lost(place, project)
    print(f"  dispatches          {len(place.asked)}, lost {len(rooms)}")
    last: dict[str, str] = {}
    jobs: dict[str, str] = {}
    for event in worker.events():
        room = event.get("room") or jobs.get(event.get("job_id", ""))
        if room in rooms:
            jobs[event.get("job_id", "")] = room
            last[room] = json.dumps(event)
    for room in sorted(rooms):
        print(f"    {room}: {last.get(room, 'no event')}")


# -- a storm -------------------------------------------------------------------------------------------------


async def storm(
    place: rig.Place, worker: rig.Worker, project: rig.Project, options: argparse.Namespace
) -> None:
    async with dispatching(place, project, options):
        await asyncio.sleep(LEAD_S)
        before = rig.cost(worker.process.pid)
        for version in range(2, options.saves + 2):
            project.save(version, rename=version % 2 == 0)
            await asyncio.sleep(STORM_EVERY_S)
        await until_entry(project, options.saves + 1, options.limit)
        await asyncio.sleep(LEAD_S)
        after = rig.cost(worker.process.pid)
    tell_lost(place, project, worker)
    events = worker.events()
    tell_ready(events)
    print(f"  on older code       {on_older_code(events)} jobs")
    ids = {event["worker_id"] for event in events if event["event"] == "registered"}
    print(f"  worker ids          {len(ids)}; told lost: {count(events, 'job_lost')}", end="; ")
    print(f"loads failed: {count(events, 'generation_failed')}")
    print(f"  before              {before}\n  after               {after}")


def tell_ready(events: list[dict[str, Any]]) -> None:
    ready = [event["seconds"] for event in events if event["event"] == "generation_ready" if event["seconds"]]
    print(f"  save -> ready       {rig.spread(ready, 'ms')}")


def count(events: list[dict[str, Any]], name: str) -> int:
    return sum(event["event"] == name for event in events)


def on_older_code(events: list[dict[str, Any]]) -> int:
    """Jobs that ran on a generation older than the one that was ready when their offer came."""
    ready, at_offer, older = 0, dict[object, int](), 0
    for event in events:
        generation = event.get("generation")
        if event["event"] == "generation_ready" and isinstance(generation, int):
            ready = generation
        elif event["event"] == "offer":
            at_offer[event["job_id"]] = ready
        elif event["event"] == "job_started" and isinstance(generation, int):
            older += generation < at_offer[event["job_id"]]
    return older


# -- saves that do not load ----------------------------------------------------------------------------------


async def broken(
    place: rig.Place, worker: rig.Worker, project: rig.Project, options: argparse.Namespace
) -> None:
    told: list[float] = []
    windows: list[tuple[float, float]] = []
    async with dispatching(place, project, options):
        for number in range(options.saves):
            await asyncio.sleep(LEAD_S)
            at = project.save(2 * number + 2, rename=number % 2 == 0, broken=True)
            if worker.tells:
                told.append(await worker.until('"generation_failed"', number + 1) - at)
            await asyncio.sleep(LEAD_S)
            windows.append((at, time.time()))
            project.save(2 * number + 3, rename=number % 2 == 1)
            await until_entry(project, 2 * number + 3, options.limit)
    during = {room for room, at in place.asked.items() for begin, end in windows if begin < at < end}
    served = during & {entry.room for entry in project.entries()}
    print(f"  while broken        {len(during)} dispatches, {len(during - served)} lost")
    print(f"  save -> event       {rig.spread(told, 'ms')}")
    tell_lost(place, project, worker)


async def on_screen(place: rig.Place, project: rig.Project, options: argparse.Namespace) -> None:
    """How soon the screen shows that a save did not load: the terminal gets the broken line's text."""
    flags = rig.interpreter(options.python, options.node, is_node=project.kind.is_node)
    command = [*rig.HOST, str(project.agent), *flags]
    terminal = Terminal(command, place.environ)
    await asyncio.to_thread(terminal.until, "○ idle".encode())
    shown = []
    for version in range(2, options.saves + 2):
        await asyncio.sleep(LEAD_S)
        project.save(version, rename=version % 2 == 0, broken=True)
        at = time.perf_counter() - terminal.begin
        text = rig.BROKEN.format(version=version).strip().encode()
        shown.append(await asyncio.to_thread(terminal.until, text) - at)
    terminal.press(b"q")
    terminal.process.wait()
    print(f"  save -> on screen   {rig.spread(shown, 'ms')}")


# -- the runs ------------------------------------------------------------------------------------------------


async def measure(options: argparse.Namespace, name: str, method: str) -> None:
    act = broken if options.broken else storm if options.storm else saves
    with tempfile.TemporaryDirectory() as folder:
        project = rig.Project(Path(folder), rig.KINDS[name])
        command, mark = rig.command(project, method, options.python, lk=options.lk, node=options.node)
        print(f"{name}: {method}, {options.saves} saves", flush=True)
        async with rig.place(options.url) as place:
            environ = {**place.environ, "VIRTUAL_ENV": str(Path(options.python).parents[1])}
            async with rig.worker(command, mark, environ, Path(folder)) as worker:
                await asyncio.sleep(LEAD_S)
                await act(place, worker, project, options)


async def watched(options: argparse.Namespace, name: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        async with rig.place(options.url) as place:
            await on_screen(place, rig.Project(Path(folder), rig.KINDS[name]), options)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--saves", type=int, default=50)
    parser.add_argument("--kinds", nargs="*", choices=rig.KINDS, default=["native", "sdk", "sdk-20"])
    parser.add_argument("--methods", nargs="*", default=["fork"], help="fork template spawn")
    parser.add_argument("--peers", nargs="*", default=[], help="dev: the SDK's own worker; lk: lk agent dev")
    parser.add_argument("--lk", default="lk", help="the lk command")
    parser.add_argument("--every", type=float, default=0.1, help="seconds between dispatches")
    parser.add_argument("--limit", type=float, default=20.0, help="seconds until a save or dispatch is lost")
    parser.add_argument("--broken", action="store_true")
    parser.add_argument("--storm", action="store_true")
    parser.add_argument("--screen", action="store_true")
    parser.add_argument("--python", default=str(rig.SDK_PYTHON))
    parser.add_argument("--node", default="node")
    parser.add_argument("--url", help="a real server, started with --dev, instead of the embedded one")
    options = parser.parse_args()
    print(f"{os.cpu_count()} cores, dispatches every {options.every} s")
    for kind in options.kinds:
        for method in rig.ways(kind, options.methods, options.peers):
            asyncio.run(measure(options, kind, method))
        if options.screen:
            asyncio.run(watched(options, kind))


if __name__ == "__main__":
    main()
