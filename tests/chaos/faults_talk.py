"""What happens in conversations: each kind types turns, and most of them break something meanwhile."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial

from tests.chaos.agent_source import JAVASCRIPT, SOURCE
from tests.chaos.talk_rig import Talks
from tests.tui.hostile import TEXTS


async def one(under: Talks, call: str, *, kind: str, text: str, answered: bool = True) -> None:
    """Type one turn, and wait for its end."""
    await under.over(await under.say(call, kind, text, answered=answered))


async def burst(under: Talks, call: str) -> None:
    """Type turns faster than they are answered."""
    numbers = [await under.say(call, "burst", "one of many") for _ in range(5)]
    for number in numbers:
        await under.over(number)


async def hostile(under: Talks, call: str) -> None:
    for name, text in sorted(TEXTS.items()):
        await under.over(await under.say(call, f"hostile {name}", text))


async def interrupted(under: Talks, call: str) -> None:
    """Cut off a turn that would never be answered."""
    number = await under.say(call, "interrupted", "hang", answered=False)
    await asyncio.sleep(under.rng.uniform(0, 0.2))
    await under.command("interrupt", call)
    await under.over(number)


async def lost(under: Talks, call: str, *, kind: str, end: Callable[[Talks, str], Awaitable[None]]) -> None:
    """End the job in the middle of a turn, with others in the queue."""
    numbers = [await under.say(call, kind, "hang", answered=False)]
    numbers += [await under.say(call, kind, "never sent", answered=False) for _ in range(2)]
    await asyncio.sleep(under.rng.uniform(0, 0.2))
    await end(under, call)
    for number in numbers:
        await under.over(number)


async def kill(under: Talks, call: str) -> None:
    under.kill(call)
    await under.end_of(call)


async def end_job(under: Talks, call: str) -> None:
    await under.command("end", call)
    await under.end_of(call)


async def restart(under: Talks, call: str) -> None:
    started = under.events["session_started"]
    await under.command("restart", call)
    await under.until(lambda: under.events["session_started"] > started, "the session after the restart")


async def dies(under: Talks, call: str) -> None:
    """Let the agent end its own process while it answers."""
    numbers = [await under.say(call, "dies", "die", answered=False)]
    numbers.append(await under.say(call, "dies", "never sent", answered=False))
    for number in numbers:
        await under.over(number)
    await under.end_of(call)


async def stuck(under: Talks, call: str) -> None:
    """Call a tool that never returns: the turn times out, and those after it may. Then kill the job."""
    numbers = [await under.say(call, "stuck", "stuck", answered=False)]
    numbers.append(await under.say(call, "stuck", "after it", answered=False))
    for number in numbers:
        await under.over(number)
    await kill(under, call)


async def saved(under: Talks, call: str) -> None:
    """Save the agent's file while turns are queued."""
    numbers = [await under.say(call, "saved", "the weather") for _ in range(3)]
    await under.save()
    for number in numbers:
        await under.over(number)


@dataclass(frozen=True, slots=True)
class TurnKind:
    """One kind of turn. `act` types turns in a call, and waits for their ends."""

    name: str
    weight: int
    act: Callable[[Talks, str], Awaitable[None]]


KINDS = (
    TurnKind("plain", 12, partial(one, kind="plain", text="one")),
    TurnKind("tool", 4, partial(one, kind="tool", text="the weather")),
    TurnKind("failing_tool", 2, partial(one, kind="failing_tool", text="this fails")),
    TurnKind("failing_llm", 2, partial(one, kind="failing_llm", text="raise", answered=False)),
    TurnKind("never_answers", 1, partial(one, kind="never_answers", text="hang", answered=False)),
    TurnKind("megabyte", 1, partial(one, kind="megabyte", text="long")),
    TurnKind("hostile", 1, hostile),
    TurnKind("burst", 2, burst),
    TurnKind("interrupted", 1, interrupted),
    TurnKind("saved", 1, saved),
    TurnKind("stuck", 1, stuck),
    TurnKind("killed", 1, partial(lost, kind="killed", end=kill)),
    TurnKind("ended", 1, partial(lost, kind="ended", end=end_job)),
    TurnKind("restarted", 1, partial(lost, kind="restarted", end=restart)),
    *(() if SOURCE is JAVASCRIPT else (TurnKind("dies", 1, dies),)),
)
