"""Loads, sweeps, advice, and the count of idle processes."""

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

from agent_tui.model.errors import UserError
from agent_tui.tui.doing.group import Group
from agent_tui.tui.screens.tuning import TuningPage
from agent_tui.tui.screens.tuning_forms import FIRST_LOAD, FIRST_SWEEP, LoadForm, SweepForm

if TYPE_CHECKING:
    from agent_tui.tui.app import AgentTuiApp

MAX_IDLE = 256


class TuningActions(Group):
    """Remembers the last load and the last sweep."""

    def __init__(self, app: "AgentTuiApp") -> None:
        super().__init__(app)
        self._counting = asyncio.Lock()

    last_load = FIRST_LOAD
    last_sweep = FIRST_SWEEP

    async def load(self) -> None:
        self.app.tuner.check_free()
        load = await self.app.push_screen_wait(LoadForm(self.last_load))
        if load is not None:
            self.last_load = load
            if await self._may(f"{load.jobs} test jobs"):
                self.app.tuner.start_load(self.app.handle, load, self.app.confirmed_host)
                await self.tuning()

    async def sweep(self) -> None:
        self.app.tuner.check_free()
        wish = await self.app.push_screen_wait(SweepForm(self.last_sweep))
        if wish is not None:
            self.last_sweep = wish
            jobs = wish.plan.load.jobs * len(wish.plan.counts) * wish.plan.repeat
            if await self._may(f"a sweep of {jobs} test jobs"):
                plan = replace(wish.plan, confirmed_host=self.app.confirmed_host)
                self.app.tuner.start_sweep(self.app.handle, plan, wish.target)
                await self.tuning()

    async def _may(self, what: str) -> bool:
        """Whether so many test jobs may be made on this server; asks where that is not clear."""
        server = self.app.state.server
        if server is None:
            raise UserError("no server is in use yet")
        confirmed = not server.remote or server.host == self.app.confirmed_host
        return confirmed or await self.app.host_typed(what)

    async def tuning(self) -> None:
        if isinstance(self.app.screen, TuningPage):
            self.app.screen.show_newest()
        else:
            page = TuningPage(self.app.tuner, lambda: self.app.in_force.num_idle_processes)
            await self.app.push_screen_wait(page)

    async def apply_advice(self) -> None:
        advice = self.app.tuner.advice
        if advice is None or advice.count is None:
            raise UserError("no sweep has advised a count: w starts one")
        await self._set_idle(advice.count)

    async def more_idle(self) -> None:
        await self._change_idle(+1)

    async def less_idle(self) -> None:
        await self._change_idle(-1)

    async def _change_idle(self, by: int) -> None:
        async with self._counting:  # each press counts from what the one before it came to
            count = self.app.handle.state.settings.options.num_idle_processes + by
            if 0 <= count <= MAX_IDLE:
                await self._set_idle(count)

    async def _set_idle(self, count: int) -> None:
        if self.app.tuner.sweeping:
            raise UserError("the sweep sets numIdleProcesses itself until it is over")
        await self.app.set_option("numIdleProcesses", str(count))
