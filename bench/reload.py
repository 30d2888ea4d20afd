"""Measures what a save costs: it creates a room every 100 ms, and saves the agent file again and again.

Saves are at least 2 s apart; every second one is an atomic rename. For each worker it prints, measured from
outside: the last entry on old code and the first one on new code after the save was on disk, entries on old
code after that, dispatches without an entry, and memory. `--broken` saves files that do not load, and prints
the lost dispatches and the time to the event; `--screen`, the time until a terminal shows it. `--storm` saves
every 0.5 s, and prints the memory before and after.

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
"""How long dispatches run before each save."""
FOLLOW_S = 0.5
STORM_EVERY_S = 0.5


@asynccontextmanager
async def dispatching(
    place: rig.Place, project: rig.Project, options: argparse.Namespace
) -> AsyncIterator[None]:
    """Dispatch during the block, and then wait for the entries. After the limit, missing ones are lost."""
    task = asyncio.create_task(place.dispatch_every(options.every))
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        deadline = time.monotonic() + options.limit
        while lost(place, project) and time.monotonic() < deadline:  # noqa: ASYNC110  the entries are in a file
            await asyncio.sleep(0.1)


async def until_entry(project: rig.Project, version: int, limit_s: float) -> None:
    """Wait until a job runs that version, or for `limit_s`."""
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
    print_saves(project.entries(), saved)
    if project.kind.is_node and worker.prints_events:
        print_by_stock(project.entries(), saved, worker.events())
    if worker.prints_events:
        print_ready(worker.events())
    print_lost(place, project, worker)
    print(f"  before              {before}\n  after               {after}")


def print_saves(entries: list[rig.Entry], saved: dict[int, float]) -> None:
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
    print(f"  old after new       {behind} jobs; saves that no job ran: {never}")


def print_by_stock(entries: list[rig.Entry], saved: dict[int, float], events: list[dict[str, Any]]) -> None:
    """Print the last entry on old code by the number of blanks that were ready when the file was saved."""
    by_count: dict[int, list[float]] = {}
    for version, at in saved.items():
        until = saved.get(version + 1, float("inf"))
        states = {
            each["id"]: each["state"]
            for each in events
            if each["event"] == "process" and each["kind"] == "blank" and each["ts"] < at
        }
        ready = sum(state == "idle" for state in states.values())
        last = max((e.at - at for e in entries if e.version < version and at < e.at < until), default=0.0)
        by_count.setdefault(ready, []).append(last)
    for ready, last_old in sorted(by_count.items()):
        print(f"    {ready} blanks ready     {rig.spread(last_old)}")


def lost(place: rig.Place, project: rig.Project) -> set[str]:
    """Return the rooms without an entry."""
    return place.asked.keys() - {entry.room for entry in project.entries()}


def print_lost(place: rig.Place, project: rig.Project, worker: rig.Worker) -> None:
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
    print_lost(place, project, worker)
    events = worker.events()
    print_ready(events)
    print(f"  on older code       {on_older_code(events)} jobs")
    ids = {event["worker_id"] for event in events if event["event"] == "registered"}
    print(f"  worker ids          {len(ids)}; job_lost events: {count(events, 'job_lost')}", end="; ")
    print(f"loads failed: {count(events, 'generation_failed')}")
    print(f"  before              {before}\n  after               {after}")


def print_ready(events: list[dict[str, Any]]) -> None:
    ready = [event["seconds"] for event in events if event["event"] == "generation_ready" if event["seconds"]]
    print(f"  save -> ready       {rig.spread(ready, 'ms')}")


def count(events: list[dict[str, Any]], name: str) -> int:
    return sum(event["event"] == name for event in events)


def on_older_code(events: list[dict[str, Any]]) -> int:
    """Return how many jobs ran on an older generation than the one that was ready at their offer."""
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
    reported: list[float] = []
    windows: list[tuple[float, float]] = []
    async with dispatching(place, project, options):
        for number in range(options.saves):
            await asyncio.sleep(LEAD_S)
            at = project.save(2 * number + 2, rename=number % 2 == 0, broken=True)
            if worker.prints_events:
                reported.append(await worker.until('"generation_failed"', number + 1) - at)
            await asyncio.sleep(LEAD_S)
            windows.append((at, time.time()))
            project.save(2 * number + 3, rename=number % 2 == 1)
            await until_entry(project, 2 * number + 3, options.limit)
    during = {room for room, at in place.asked.items() for begin, end in windows if begin < at < end}
    served = during & {entry.room for entry in project.entries()}
    print(f"  while broken        {len(during)} dispatches, {len(during - served)} lost")
    print(f"  save -> event       {rig.spread(reported, 'ms')}")
    print_lost(place, project, worker)


async def on_screen(place: rig.Place, project: rig.Project, options: argparse.Namespace) -> None:
    """Measure the time from a save that does not load until the screen shows the failing line."""
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
    parser.add_argument("--peers", nargs="*", default=[], help="dev: the SDK's worker; lk: lk agent dev")
    parser.add_argument("--lk", default="lk", help="the lk command")
    parser.add_argument("--every", type=float, default=0.1, help="seconds between dispatches")
    parser.add_argument(
        "--limit", type=float, default=20.0, help="seconds after which a save or dispatch counts as lost"
    )
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
