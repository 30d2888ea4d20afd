"""Signals end the command gracefully, by killing, or at once."""

import asyncio
import os
import signal
from functools import partial

from agent_tui.cli.signals import IGNORED, StopSignals
from tests.fakes.scripted_child import until


def _reached(asked: list[bool], count: int) -> bool:
    return len(asked) == count


async def test_the_first_signal_ends_the_second_kills_and_the_third_exits_at_once() -> None:
    asked: list[bool] = []
    left: list[int] = []

    async def hang(reason: str, kill: bool) -> None:
        asked.append(kill)
        await asyncio.Event().wait()

    with StopSignals(hang, left.append) as signals:
        for count in (1, 2):
            os.kill(os.getpid(), signal.SIGTERM)
            await until(partial(_reached, asked, count))
        assert (asked, left) == ([False, True], [])
        os.kill(os.getpid(), signal.SIGTERM)
        await until(lambda: left)
    assert left == [143]
    assert signals.exit_code == 143
    for task in signals._tasks:
        task.cancel()


async def test_a_signal_for_another_program_is_ignored() -> None:
    asked: list[bool] = []

    async def stop(_reason: str, kill: bool) -> None:
        asked.append(kill)

    meant: list[signal.Signals] = []

    def ignores(number: signal.Signals) -> bool:
        meant.append(number)
        return len(meant) == 1

    with StopSignals(stop, ignores=ignores) as signals:
        os.kill(os.getpid(), signal.SIGINT)
        await until(lambda: meant)
        assert (asked, signals.exit_code) == ([], None)
        os.kill(os.getpid(), signal.SIGINT)
        await until(lambda: asked)
        assert signals.exit_code == 130


async def test_other_signals_end_nothing_and_sigquit_ends_gracefully() -> None:
    asked: list[bool] = []

    async def stop(_reason: str, kill: bool) -> None:
        asked.append(kill)

    before = signal.getsignal(signal.SIGUSR1)
    with StopSignals(stop) as signals:
        for number in IGNORED:
            os.kill(os.getpid(), number)
        await asyncio.sleep(0)
        assert (asked, signals.exit_code) == ([], None)
        os.kill(os.getpid(), signal.SIGQUIT)
        await until(lambda: asked)
        assert (asked, signals.exit_code) == ([False], 131)
    assert signal.getsignal(signal.SIGUSR1) is before
