"""Type AGENT_TUI_CHAOS_TURNS turns in calls that break. The same AGENT_TUI_CHAOS_SEED gives the same ones.

By default each kind of turn happens once. AGENT_TUI_CHAOS_ONLY names the kinds to choose from;
AGENT_TUI_CHAOS_AGENT=js runs an agents-js file.
"""

import asyncio
import os
import random
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chaos.agent_source import JAVASCRIPT, SOURCE
from tests.chaos.faults import ONLY, SEED
from tests.chaos.faults_talk import KINDS, TurnKind
from tests.chaos.rig import memory_mb, peak_mb
from tests.chaos.talk_rig import Talks, by_end, talks
from tests.nodes import needs_node
from tests.sdks import REASON, sdk_pythons

TURNS = int(os.environ.get("AGENT_TUI_CHAOS_TURNS", "0"))
"""The least number of turns to type; 0 for one of each kind."""

EARLY = 0.2
"""After this part of the turns, memory is measured for the first time."""

KEPT_MB = 80
"""MB by which agent-tui may grow after that: ended conversations stay, up to 64 MB."""

pytestmark = [pytest.mark.real, pytest.mark.timeout(180 + 2 * TURNS)]
if SOURCE is JAVASCRIPT:
    pytestmark.append(needs_node)
else:
    pytestmark.append(pytest.mark.skipif(not sdk_pythons(), reason=REASON))


def chosen(rng: random.Random) -> Iterator[TurnKind]:
    """Yield each kind once, then kinds by weight."""
    kinds = [kind for kind in KINDS if not ONLY or kind.name in ONLY]
    yield from rng.sample(kinds, len(kinds))
    while TURNS:
        yield from rng.choices(kinds, [kind.weight for kind in kinds])


async def test_no_turn_is_lost_or_shown_twice(tmp_path: Path) -> None:
    early = 0.0
    async with talks(tmp_path, SEED) as under:
        for kind in chosen(under.rng):
            began = time.monotonic()
            try:
                await kind.act(under, await under.call())
            except (AssertionError, OSError) as error:
                raise AssertionError(f"{kind.name} after {len(under.turns)} turns: {error}") from error
            sys.stderr.write(f"{len(under.turns)} {kind.name} {time.monotonic() - began:.1f} s\n")
            if not early and len(under.turns) >= TURNS * EARLY:
                early = memory_mb(under.run.process.pid)
            if TURNS and len(under.turns) >= TURNS:
                break
        await asyncio.sleep(0.5)  # what would be shown twice
        late, most = memory_mb(under.run.process.pid), peak_mb(under.run.process.pid)
        sys.stdout.write(
            f"\nseed {SEED}, {len(under.turns)} turns in {under.events['session_started']} sessions, memory "
            f"{early:.0f} MB at {EARLY:.0%} → {late:.0f} MB, at most {most:.0f} MB\n"
        )
        for name, ends in by_end(under).items():
            sys.stdout.write(f"  {name}: {ends}\n")
        each_turn_has_one_end(under)
        turns_of_a_session_are_in_order(under)
        turns_are_shown_once(under)
        assert under.own_errors == []
        assert late < early * 1.25 + KEPT_MB


def each_turn_has_one_end(under: Talks) -> None:
    """Check that a turn starts and ends once: with an answer, or with the reason why there is none."""
    assert under.strays == []
    wrong = {n: said for n, said in under.turns.items() if (len(said.started), len(said.ended)) != (1, 1)}
    assert wrong == {}
    lacking = {
        number: said
        for number, said in under.turns.items()
        if said.answered and said.ended[0]["error"] and "no answer within" not in said.ended[0]["error"]
    }
    assert lacking == {}


def turns_of_a_session_are_in_order(under: Talks) -> None:
    """Check that turns are numbered as they were typed: what was typed first comes first."""
    last: dict[tuple[str, int], int] = {}
    for number in sorted(under.turns):
        started = under.turns[number].started[0]
        session = started["job_id"], started["session"]
        assert started["turn"] > last.get(session, 0), under.turns[number]
        last[session] = started["turn"]


def turns_are_shown_once(under: Talks) -> None:
    """Check the messages: what was typed and its answer are there once, in the turn that they belong to."""
    for number, said in under.turns.items():
        turn = said.started[0]["turn"]
        if not said.ended[0]["error"]:
            assert [each["turn"] for each in said.shown] == [turn], number
        assert len(said.shown) <= 1, (number, said)
        assert len(said.replies) <= 1, (number, said)
