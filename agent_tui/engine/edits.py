"""Bringing edits into force: as one step over all owners, or not at all."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace

from agent_tui.engine.context import Context
from agent_tui.engine.registrar import Registrar, registration_for
from agent_tui.engine.settings import Changes, Settings, changes
from agent_tui.model.errors import UserError
from agent_tui.model.events import Notice
from agent_tui.model.logs import LogLevel
from agent_tui.options.configfile import NAME, ConfigFile, named_config
from agent_tui.options.declare import BY_NAME, Applies, ServerOptions
from agent_tui.options.resolve import convert
from agent_tui.options.save import keepable, save
from agent_tui.processes.pool import Pool
from agent_tui.runtimes.threads import off_loop

ACCEPT_S = 10.0
"""A server that has not accepted a changed registration by then will not soon."""

SERVER = frozenset({"wsURL", "apiKey", "apiSecret", "workerToken"})
"""What the agent's own code is to see as well: the file is loaded anew for it."""


class Editor:
    """Takes one change of the edits at a time."""

    def __init__(
        self,
        context: Context,
        *,
        pool: Callable[[], Pool],
        registrar: Callable[[], Registrar],
        reload: Callable[[], Awaitable[bool]],
        register: Callable[[], Awaitable[None]],
        listen: Callable[[ServerOptions], Awaitable[None]],
        load_error: Callable[[], str],
        accept_s: float = ACCEPT_S,
    ) -> None:
        """`reload` loads the file under the settings in force, `register` registers and `listen` listens."""
        self._context = context
        self._pool = pool
        self._registrar = registrar
        self._reload = reload
        self._register = register
        self._listen = listen
        self._load_error = load_error
        self._accept_s = accept_s
        self._one = asyncio.Lock()

    async def apply(self, change: Callable[[Settings], Settings]) -> Changes:
        """Brings the changed settings into force and tells which options differ now.

        Raises UserError for settings that cannot be, with the old ones in force.
        """
        async with self._one:
            before = self._context.settings
            wanted = change(before)
            changed = changes(before, wanted)
            registration_for(wanted.options, "")
            self._context.settings = wanted
            try:
                await self._carry_out(changed)
            except BaseException:
                self._context.settings = replace(
                    self._context.settings,
                    edits=before.edits,
                    history=before.history,
                    measuring=before.measuring,
                )
                await self._carry_out(changed, wait=False)
                raise
            return changed

    async def save(self, *, clear_secrets: bool) -> list[str]:
        """Writes the edits to the config file, from which they come then; returns lines for people.

        Raises UserError when there are none, or the file cannot be written.
        """
        async with self._one:
            settings, config = self._context.settings, self._context.config
            if not settings.edits:
                raise UserError("nothing was edited that could be saved")
            path = settings.environment.config_file
            file = named_config(path) if path else ConfigFile(config.agent.parent / NAME)
            values = {name: convert(BY_NAME[name], given) for name, given in settings.edits.items()}
            variables = settings.environment.variables
            held_back = {
                name: why
                for name, value in values.items()
                if not clear_secrets and (why := keepable(BY_NAME[name], value, variables))
            }
            kept = {name: value for name, value in values.items() if name not in held_back}
            try:
                await asyncio.to_thread(save, file, kept, clear_secrets=clear_secrets)
            except OSError as error:
                raise UserError(f"not saved: {file.path}: {error.strerror or error}") from None
            except ValueError as error:
                raise UserError(f"not saved: {error}") from None
            environment = await off_loop(config.read_environment)
            self._context.settings = self._context.settings.saved(environment, held_back.keys())
            return [f"{', '.join(kept)} saved to {file.path}"] * bool(kept) + list(held_back.values())

    async def _carry_out(self, changed: Changes, *, wait: bool = True) -> None:
        """Without `wait` it is a way back: what does not work any more is reported, and the rest is done."""
        options = self._context.settings.options
        with contextlib.nullcontext() if wait else self._reported():
            await self._listen(options)
        self._pool().set_target(options.num_idle_processes)
        self._registrar().reconfigure(options)
        applies = {BY_NAME[name].applies for name in changed}
        with contextlib.nullcontext() if wait else self._reported():
            if Applies.RESTARTS in applies or SERVER & changed.keys():
                if not await self._reload() and wait:
                    raise UserError(f"the old values stay: {self._load_error()}")
            elif Applies.REGISTERS in applies:
                await self._register()
        if wait and Applies.REGISTERS in applies:
            await self._accepted()

    @contextlib.contextmanager
    def _reported(self) -> Iterator[None]:
        try:
            yield
        except UserError as error:
            self._context.emit(Notice(LogLevel.WARN, f"the old options are not all in force again: {error}"))

    async def _accepted(self) -> None:
        try:
            async with asyncio.timeout(self._accept_s):
                refusal = await self._registrar().taken_over()
        except TimeoutError:
            refusal = f"the server did not accept them within {self._accept_s:g} s"
        if refusal:
            raise UserError(f"the old values stay: {refusal}")
