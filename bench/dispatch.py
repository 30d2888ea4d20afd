"""Measures the time from an offer to the entry function, and the CPU and memory that readiness costs.

Dispatches one job at a time, with a warm process and without one, and bursts. The embedded server records the
time of the offer, and the agent that of its entry, so that all workers are measured in the same way.

    python bench/dispatch.py [--kinds native sdk] [--methods fork] [--peers dev] [--runs 50] [--burst 30]
    python bench/dispatch.py --kinds js --runs 0 --burst-idle 2 --peers start
"""

import argparse
import asyncio
import os
import tempfile
from pathlib import Path
from typing import Any

import rig

APART_S = 0.4
SETTLE_S = 3.0
LIMIT_S = 60.0


async def entered(place: rig.Place, project: rig.Project, rooms: set[str]) -> list[rig.Entry]:
    """Return the entries of these rooms. Raises TimeoutError if one is still missing after a while."""
    async with asyncio.timeout(LIMIT_S):
        while True:
            found = [entry for entry in project.entries() if entry.room in rooms]
            if len(found) >= len(rooms):
                return found
            await asyncio.sleep(0.02)


async def one_by_one(place: rig.Place, project: rig.Project, runs: int) -> list[rig.Entry]:
    found: list[rig.Entry] = []
    for _ in range(runs):
        found += await entered(place, project, {await place.dispatch()})
        await asyncio.sleep(APART_S)
    return found


async def bursts(
    place: rig.Place, project: rig.Project, worker: rig.Worker, options: argparse.Namespace
) -> None:
    """Measure `--bursts` bursts of `--burst` dispatches."""
    last, each = [], []
    cpu, lines = rig.cpu_s(worker.process.pid), len(worker.lines)
    for _ in range(options.bursts):
        await asyncio.sleep(SETTLE_S)
        rooms = set(await asyncio.gather(*(place.dispatch() for _ in range(options.burst))))
        entries = await entered(place, project, rooms)
        offers = [place.offered[room] for room in rooms]
        last.append(max(entry.at for entry in entries) - max(offers))
        each += [entry.at - place.offered[entry.room] for entry in entries]
    print(f"  burst of {options.burst}, last entry after the last offer  {rig.spread(last)}")
    print(f"  burst of {options.burst}, each from its offer              {rig.spread(each)}")
    await asyncio.sleep(SETTLE_S)
    cpu = rig.cpu_s(worker.process.pid) - cpu
    print(f"  CPU per job                                 {cpu / len(each):.2f} s", end="")
    if worker.prints_events:
        print(f"; concurrent starts: at most {most_starting(worker.events(lines))}", end="")
    print(flush=True)


def most_starting(events: list[dict[str, Any]]) -> int:
    """Return the largest number of concurrent starts, including blanks that import the SDK."""
    starting, most = set[str](), 0
    for each in events:
        if each["event"] != "process":
            continue
        if each["state"] == "starting":
            starting.add(each["id"])
        else:
            starting.discard(each["id"])
        most = max(most, len(starting))
    return most


async def measure(options: argparse.Namespace, name: str, idle: int, method: str) -> None:
    kind = rig.KINDS[name]
    with tempfile.TemporaryDirectory() as folder:
        project = rig.Project(Path(folder), kind, idle)
        command, mark = rig.command(project, method, options.python, idle, node=options.node)
        async with rig.place() as place, rig.worker(command, mark, place.environ, Path(folder)) as worker:
            await asyncio.sleep(SETTLE_S)
            print(f"{name}: {method}, {idle} idle", flush=True)
            print(f"  at rest             {rig.cost(worker.process.pid)}")
            if idle == options.burst_idle:
                await bursts(place, project, worker, options)
                return
            entries = await one_by_one(place, project, options.runs)
            offer = [entry.at - place.offered[entry.room] for entry in entries]
            asked = [entry.at - place.asked[entry.room] for entry in entries]
            print(f"  offer -> entry      {rig.spread(offer, 'ms')}")
            print(f"  dispatch -> entry   {rig.spread(asked, 'ms')}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--kinds", nargs="*", choices=rig.KINDS, default=["native", "sdk"])
    parser.add_argument("--methods", nargs="*", default=["fork"], help="fork template spawn")
    parser.add_argument("--peers", nargs="*", default=[], help="dev, start: the SDK's worker")
    parser.add_argument("--runs", type=int, default=50, help="single dispatches; 0: only bursts")
    parser.add_argument("--burst", type=int, default=30)
    parser.add_argument("--bursts", type=int, default=5)
    parser.add_argument("--burst-idle", type=int, default=4)
    parser.add_argument("--python", default=str(rig.SDK_PYTHON))
    parser.add_argument("--node", default="node")
    options = parser.parse_args()
    print(f"{os.cpu_count()} cores")
    for kind in options.kinds:
        for method in rig.ways(kind, options.methods, options.peers):
            for idle in (1, 0, options.burst_idle) if options.runs else (options.burst_idle,):
                asyncio.run(measure(options, kind, idle, method))


if __name__ == "__main__":
    main()
