"""What each command does: the owner that it is for, and the one line that says what became of it."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from agent_tui.engine.agent_code import AgentCode
from agent_tui.engine.bus import Bus
from agent_tui.engine.config import RunConfig
from agent_tui.engine.dispatches import Destination, Dispatches
from agent_tui.engine.guards import remote_refusal
from agent_tui.engine.servers import ServerManager
from agent_tui.jobs.manager import JobManager
from agent_tui.jobs.record import TestDispatch
from agent_tui.logs.redactor import Redactor
from agent_tui.model import commands as cmd
from agent_tui.model import events as ev
from agent_tui.model.logs import LogLevel
from agent_tui.processes.memory import MemorySampler
from agent_tui.settings.manager import SettingsManager
from agent_tui.settings.settings import Settings

DESCRIPTION = 64 * 1024
"""Characters of what is told of one job: its metadata may be long."""

Result = cmd.CommandResult


class Orders:
    """Carries out the commands of a run that is up, but for its end."""

    def __init__(
        self,
        config: RunConfig,
        bus: Bus,
        redactor: Redactor,
        *,
        settings: SettingsManager,
        servers: ServerManager,
        jobs: JobManager,
        code: AgentCode,
        sampler: MemorySampler,
        dispatches: Dispatches,
    ) -> None:
        self._config = config
        self._bus = bus
        self._redactor = redactor
        self._settings = settings
        self._servers = servers
        self._jobs = jobs
        self._code = code
        self._sampler = sampler
        self._dispatches = dispatches
        self._of: dict[type[object], Callable[[Any], Awaitable[Result]]] = {
            cmd.Dispatch: self._dispatch,
            cmd.EndJob: self._end_job,
            cmd.RestartJob: self._restart_job,
            cmd.DescribeJob: self._describe_job,
            cmd.SetOptions: self._set_options,
            cmd.UndoOptions: self._undo_options,
            cmd.SaveOptions: self._save_options,
            cmd.MeasureMemory: self._measure_memory,
            cmd.DumpStacks: self._dump_stacks,
            cmd.Reload: self._reload,
            cmd.RollBack: self._roll_back,
            cmd.DiffGeneration: self._diff,
            cmd.PauseWatching: self._pause_watching,
        }

    async def carry_out(self, command: cmd.Command) -> Result:
        """Raises UserError for what cannot be done."""
        return await self._of[type(command)](command)

    # -- jobs ----------------------------------------------------------------------------------------

    async def _dispatch(self, command: cmd.Dispatch) -> Result:
        server, options = self._servers.current, self._settings.options
        refusal = remote_refusal(server.chosen, command.confirmed_host, "a test dispatch")
        if refusal is not None:
            return Result(False, refusal, refused=True)
        to = Destination(server.address, options.agent_name, options.deployment)
        making = (self._dispatches.make(to, room, command) for room in _room_names(command))
        made = await asyncio.gather(*making, return_exceptions=True)
        failures = [result for result in made if isinstance(result, BaseException)]
        dispatches = {each.number: each.room for each in made if isinstance(each, TestDispatch)}
        if failures:
            text = f"{len(failures)} of {len(made)} dispatches failed: {failures[0]}"
            self._bus.publish(ev.Notice(LogLevel.ERROR, text))
            return Result(False, text, dispatches=dispatches)
        return Result(True, ", ".join(dispatches.values()), dispatches=dispatches)

    async def _end_job(self, command: cmd.EndJob) -> Result:
        found = self._jobs.end(command.job_id, ev.JobStatus.TERMINATED, command.reason)
        return Result(found, command.reason if found else f"no job {command.job_id} runs here")

    async def _restart_job(self, command: cmd.RestartJob) -> Result:
        problem = self._jobs.restart(command.job_id, command.reason)
        return Result(problem is None, problem or command.reason)

    async def _describe_job(self, command: cmd.DescribeJob) -> Result:
        text = self._jobs.describe(command.job_id)
        if text is None:
            return Result(False, f"no job {command.job_id} is known here")
        return Result(True, self._redactor.clean(text, DESCRIPTION))

    # -- options -------------------------------------------------------------------------------------

    async def _set_options(self, command: cmd.SetOptions) -> Result:
        change = Settings.measured_with if command.measuring else Settings.edited
        return await self._edit(lambda settings: change(settings, command.values))

    async def _undo_options(self, _: cmd.UndoOptions) -> Result:
        return await self._edit(Settings.undone)

    async def _save_options(self, command: cmd.SaveOptions) -> Result:
        agent = self._config.agent
        return Result(True, "; ".join(await self._settings.save(agent, clear_secrets=command.clear_secrets)))

    async def _edit(self, change: Callable[[Settings], Settings]) -> Result:
        edited = await self._settings.edit(change)
        said = [f"{name} = {new}" for name, (_, new) in edited.changed.items()]
        if edited.waiting:
            said.append(f"{', '.join(edited.waiting)}: at the next start, once saved")
        return Result(True, ", ".join(said) or "nothing changed")

    # -- processes -----------------------------------------------------------------------------------

    async def _measure_memory(self, _: cmd.MeasureMemory) -> Result:
        return Result(True, f"{self._sampler.measure_all()} processes measured")

    async def _dump_stacks(self, command: cmd.DumpStacks) -> Result:
        name = command.process_id
        for process in self._code.processes():
            if process.id == name:
                text = self._redactor.clean(await process.stacks())
                return Result(bool(text), text or f"process {name} does not tell its stacks")
        return Result(False, f"there is no process {name} any more")

    # -- the agent's code ----------------------------------------------------------------------------

    async def _reload(self, _: cmd.Reload) -> Result:
        loaded = await self._code.reloader.reload()
        return Result(loaded, "loaded" if loaded else "the file does not load")

    async def _roll_back(self, command: cmd.RollBack) -> Result:
        number = command.generation
        if not await self._code.reloader.roll_back(number):
            why = self._bus.state.generation.error
            return Result(False, f"generation {number} does not load any more: {why}")
        view = self._bus.state.generation
        if not view.rolled_back_to:
            return Result(True, f"generation {number} runs again, as {view.current}")
        until = "the next save or r loads" if self._config.watch else "r loads"
        return Result(True, f"rolled back to {number}, as generation {view.current}: {until} what is on disk")

    async def _diff(self, command: cmd.DiffGeneration) -> Result:
        diff = await self._code.reloader.diff(command.number, command.against)
        # line by line, so that no escape sequence takes the lines after it away
        return Result(True, "\n".join(map(self._redactor.clean, diff.split("\n"))))

    async def _pause_watching(self, command: cmd.PauseWatching) -> Result:
        if not self._config.watch:
            return Result(False, "saves are not watched (--no-watch): press r to load one")
        self._code.reloader.pause(command.paused)
        return Result(True, "saves are passed over" if command.paused else "saves are loaded again")


def _room_names(command: cmd.Dispatch) -> list[str]:
    """One name per dispatch: the given one, numbered if it serves several; empty for one to be made up."""
    if not command.room or command.count == 1:
        return [command.room] * command.count
    return [f"{command.room}-{number}" for number in range(1, command.count + 1)]
