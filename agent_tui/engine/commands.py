"""Carries out commands: passes each to the responsible part, and returns a one-line result."""

import asyncio
import json
import sys
from collections.abc import Callable

from msgspec.structs import replace

from agent_tui.engine.agent_code import AgentCode
from agent_tui.engine.bus import Bus
from agent_tui.engine.config import RunConfig
from agent_tui.engine.dispatches import Destination, Dispatches
from agent_tui.engine.servers import ServerManager
from agent_tui.jobs.manager import JobManager
from agent_tui.jobs.record import TestDispatch
from agent_tui.logs.redactor import Redactor
from agent_tui.model import commands as cmd
from agent_tui.model import events as ev
from agent_tui.model.dispatches import remote_refusal
from agent_tui.model.errors import UserError
from agent_tui.model.logs import LogLevel
from agent_tui.model.wording import counted
from agent_tui.processes.memory import MemorySampler
from agent_tui.settings.manager import SettingsManager
from agent_tui.settings.settings import Settings

DESCRIPTION = 64 * 1024
"""Maximum number of characters of a job's description. A job's metadata may be long."""

Result = cmd.CommandResult


class CommandHandler:
    """Carries out the commands of a running engine, except `Stop`."""

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

    async def handle(self, command: cmd.Command) -> Result:
        """Carry out a command. Raise UserError if it cannot be carried out."""
        match command:
            case cmd.Dispatch():
                return await self._dispatch(command)
            case cmd.EndJob(job_id, reason):
                found = self._jobs.end(job_id, ev.JobStatus.TERMINATED, reason)
                return Result(found, reason if found else f"no job {job_id} is running")
            case cmd.RestartJob(job_id, reason):
                problem = self._jobs.restart(job_id, reason)
                return Result(problem is None, problem or reason)
            case cmd.PinJob(job_id, pinned):
                return Result(True, self._code.swaps.pin(job_id, pinned=pinned))
            case cmd.SwapJob(job_id):
                return Result(True, self._code.swaps.swap(job_id))
            case cmd.DescribeJob(job_id):
                text = self._jobs.describe(job_id)
                if text is None:
                    return Result(False, f"job {job_id} is unknown")
                return Result(True, self._redactor.clean(text, DESCRIPTION))
            case cmd.Say(job_id, text, session):
                self._jobs.sessions(job_id).say(text, session)
                return Result(True)
            case cmd.Interrupt(job_id, session):
                self._jobs.sessions(job_id).interrupt(session)
                return Result(True)
            case cmd.InspectSession(job_id, session):
                info = await self._jobs.sessions(job_id).ask("get_agent_info", session)
                text = json.dumps(info, ensure_ascii=False)
                return Result(True, self._redactor.clean(text, sys.maxsize))  # uncut, to stay JSON
            case cmd.SetOptions(values):
                change = Settings.measured_with if command.measuring else Settings.edited
                return await self._edit(lambda settings: change(settings, values))
            case cmd.UndoOptions():
                return await self._edit(Settings.undone)
            case cmd.SaveOptions():
                saved = await self._settings.save(self._config.agent, clear_secrets=command.clear_secrets)
                return Result(True, "; ".join(saved))
            case cmd.AllowRemote(host):
                return Result(True, await self._settings.allow_remote(self._config.agent, host))
            case cmd.MeasureMemory():
                count = self._sampler.measure_all()
                return Result(True, f"{counted(count, 'process')} measured")
            case cmd.DumpStacks(process_id):
                return await self._dump_stacks(process_id)
            case cmd.Reload():
                loaded = await self._code.reloader.reload()
                return Result(loaded, "loaded" if loaded else "the file does not load")
            case cmd.RollBack(number):
                return await self._roll_back(number)
            case cmd.DiffGeneration(number, against):
                diff = await self._code.reloader.diff(number, against)
                # Line by line, so that an escape sequence cannot swallow the lines after it.
                return Result(True, "\n".join(map(self._redactor.clean, diff.split("\n"))))
            case cmd.PauseWatching(paused):
                if not self._config.watch:
                    return Result(False, "file watching is off (--no-watch): press r to reload")
                self._code.reloader.pause(paused)
                return Result(True, "reload paused" if paused else "reload resumed")
            case cmd.StartTestLoad() | cmd.StartSweep() | cmd.StopTuning():
                raise UserError(
                    "tuning is not available in this run"
                )  # with a tuner, `Engine.add_handlers` handles these
            case cmd.Stop():
                raise TypeError(command)  # the engine handles it, since it ends this handler too

    async def _dispatch(self, command: cmd.Dispatch) -> Result:
        server, options = self._servers.current, self._settings.options
        # Use the current config file, which may have changed since the server was found.
        allowed = server.chosen.host.lower() in self._settings.environment.allow_remote
        chosen = replace(server.chosen, allowed=allowed)
        refusal = remote_refusal(chosen, command.confirmed_host, "a test dispatch")
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

    async def _edit(self, change: Callable[[Settings], Settings]) -> Result:
        edited = await self._settings.edit(change)
        lines = [f"{name} = {new}" for name, (_, new) in edited.changed.items()]
        if edited.waiting:
            lines.append(f"{', '.join(edited.waiting)}: save to apply at the next start")
        return Result(True, ", ".join(lines) or "nothing changed")

    async def _dump_stacks(self, process_id: str) -> Result:
        for process in self._code.processes():
            if process.id == process_id:
                text = self._redactor.clean(await process.stacks())
                return Result(bool(text), text or f"process {process_id} reported no stacks")
        return Result(False, f"process {process_id} has ended")

    async def _roll_back(self, number: int) -> Result:
        if not await self._code.reloader.roll_back(number):
            why = self._bus.state.generation.error
            return Result(False, f"generation {number} failed to load: {why}")
        view = self._bus.state.generation
        if not view.rolled_back_to:
            return Result(True, f"generation {number} is current again, as generation {view.current}")
        after = "the next save or r" if self._config.watch else "r"
        text = f"rolled back to generation {number} (now generation {view.current})"
        return Result(True, f"{text}; {after} loads the files on disk")


def _room_names(command: cmd.Dispatch) -> list[str]:
    """Return one name per dispatch: the given one, numbered if there are several; empty to generate one."""
    if not command.room or command.count == 1:
        return [command.room] * command.count
    return [f"{command.room}-{number}" for number in range(1, command.count + 1)]
