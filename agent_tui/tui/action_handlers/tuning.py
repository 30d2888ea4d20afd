"""The actions about test loads, sweeps, their advice, and the number of idle processes."""

import asyncio
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
    from agent_tui.model.settings import SettingsView
    from agent_tui.tui.app import AgentTuiApp

MAX_IDLE = 256


class TuningActions(Handlers):
    """Handlers of the tuning actions. The forms open with the values of the last load and sweep."""

    def __init__(self, app: "AgentTuiApp") -> None:
        super().__init__(app)
        self._counting = asyncio.Lock()
        self._accepted: list[int] = []
        """The idle counts that were accepted, in order, and that the state may not show yet."""
        self._seen: SettingsView | None = None
        """The settings in the state at the last key."""

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
        wish = await self.app.push_screen_wait(SweepForm(self.last_sweep, len(self.app.state.live_jobs)))
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
            count = self._current_idle() + by
            if 0 <= count <= MAX_IDLE and await self._set_idle(count):
                self._accepted.append(count)

    def _current_idle(self) -> int:
        """Return the last accepted idle count, or the state's one if it shows that, or a later change."""
        settings = self.app.engine.state.settings
        shown = settings.options.num_idle_processes
        if settings is not self._seen:
            self._seen = settings
            shows = shown in self._accepted
            self._accepted = self._accepted[self._accepted.index(shown) + 1 :] if shows else []
        return self._accepted[-1] if self._accepted else shown

    async def _set_idle(self, count: int) -> bool:
        if self.app.engine.state.tuning.sweeping:
            raise UserError("the running sweep sets numIdleProcesses; change it when the sweep is done")
        return await self.app.set_option("numIdleProcesses", str(count))
