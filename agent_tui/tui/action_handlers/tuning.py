"""The actions about test loads, sweeps, their advice, and the number of idle processes."""

import asyncio
import time
from typing import TYPE_CHECKING

from msgspec.structs import replace

from agent_tui.model import commands as cmd
from agent_tui.model.dispatches import remote_refusal
from agent_tui.model.errors import UserError
from agent_tui.tui.action_handlers.base import Handlers
from agent_tui.tui.screens.tuning import TuningPage
from agent_tui.tui.screens.tuning_forms import FIRST_SWEEP, FIRST_TEST_LOAD, SweepForm, TestLoadForm
from agent_tui.tui.widgets.advice_rows import advice_text
from agent_tui.tui.widgets.text import counted

if TYPE_CHECKING:
    from agent_tui.tui.app import AgentTuiApp

MAX_IDLE = 256
LAG_S = 0.5
"""Time after an answer in which the state may not have its effect yet, in s."""


class TuningActions(Handlers):
    """Handlers of the tuning actions. The forms open with the values of the last load and sweep."""

    def __init__(self, app: "AgentTuiApp") -> None:
        super().__init__(app)
        self._counting = asyncio.Lock()
        self._asked, self._asked_until = 0, 0.0
        """The last accepted idle count, from which keys count until then (monotonic time, in s)."""

    last_load = FIRST_TEST_LOAD
    last_sweep = FIRST_SWEEP

    async def load(self) -> None:
        self._check_free()
        load = await self.app.push_screen_wait(TestLoadForm(self.last_load))
        if load is not None:
            self.last_load = load
            if await self._may_run(counted(load.jobs, "test job")):
                await self._start(cmd.StartTestLoad(load, self.app.confirmed_host))

    async def sweep(self) -> None:
        self._check_free()
        wish = await self.app.push_screen_wait(SweepForm(self.last_sweep))
        if wish is not None:
            self.last_sweep = wish
            jobs = wish.plan.load.jobs * len(wish.plan.counts) * wish.plan.repeat
            if await self._may_run(f"a sweep of {counted(jobs, 'test job')}"):
                plan = replace(wish.plan, confirmed_host=self.app.confirmed_host)
                await self._start(cmd.StartSweep(plan, wish.target))

    def _check_free(self) -> None:
        """Raise UserError if a load or sweep is running, before the user fills in a form."""
        if busy := self.app.state.tuning.busy:
            raise UserError(busy)

    async def _start(self, command: cmd.StartTestLoad | cmd.StartSweep) -> None:
        result = await self.app.engine.send(command)
        if not result.ok:
            raise UserError(result.text)
        await self.tuning()

    async def _may_run(self, what: str) -> bool:
        """Return whether `what` may run on this server. Ask the user first if the server is remote."""
        server = self.app.state.server
        if server is None:
            raise UserError("no server yet: agent-tui is still starting")
        refusal = remote_refusal(server, self.app.confirmed_host, what)
        return refusal is None or await self.app.host_confirmed(what)

    async def tuning(self) -> None:
        if not isinstance(self.app.screen, TuningPage):
            await self.app.push_screen_wait(TuningPage(self.app.state, self.app.engine.send))
            if running := self.app.state.tuning.summary:
                self.app.notify_line(f"{running} continues · T shows it")

    async def apply_advice(self) -> None:
        sweep = self.app.state.tuning.sweep
        if sweep is None or sweep.running:
            raise UserError(
                "no advice yet: " + ("w starts a sweep" if sweep is None else "the sweep is running")
            )
        if sweep.advice is None or sweep.advice.count is None:
            raise UserError(f"nothing to apply: {advice_text(sweep)} · w starts another sweep")
        await self._set_idle(sweep.advice.count)

    async def more_idle(self) -> None:
        await self._change_idle(+1)

    async def less_idle(self) -> None:
        await self._change_idle(-1)

    async def _change_idle(self, by: int) -> None:
        async with self._counting:  # each key press changes the result of the previous one
            shown = self.app.engine.state.settings.options.num_idle_processes
            count = (self._asked if time.monotonic() < self._asked_until else shown) + by
            if 0 <= count <= MAX_IDLE:
                accepted = await self._set_idle(count)
                self._asked, self._asked_until = count, time.monotonic() + LAG_S if accepted else 0.0

    async def _set_idle(self, count: int) -> bool:
        if self.app.engine.state.tuning.sweeping:
            raise UserError("the running sweep sets numIdleProcesses; change it when the sweep is done")
        return await self.app.set_option("numIdleProcesses", str(count))
