"""The options of the agent's code: what its file and its environment say, taken beside what is edited."""

import contextlib
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace

from agent_tui.engine.context import Context
from agent_tui.engine.registrar import registration_for
from agent_tui.engine.servers import Server
from agent_tui.engine.settings import (
    Settings,
    changes,
    check_functions,
    named_functions,
    overruled,
    unknown,
)
from agent_tui.model.child import Manifest
from agent_tui.model.errors import UserError
from agent_tui.model.events import Notice, OptionsChanged
from agent_tui.model.logs import LogLevel
from agent_tui.options.declare import ServerOptions
from agent_tui.runtimes.python import ChildSettings
from agent_tui.runtimes.threads import off_loop


@dataclass(slots=True)
class _Load:
    """What one load runs under. It stays so for its processes, whatever is loaded after it."""

    settings: Settings


class CodeOptions:
    """What the generation that is being loaded runs under, until it is in force."""

    def __init__(
        self,
        context: Context,
        *,
        find_server: Callable[[ServerOptions], Awaitable[Server]],
        listen: Callable[[ServerOptions], Awaitable[None]],
    ) -> None:
        self._context = context
        self._find_server = find_server
        self._listen = listen
        self._server_for = _server_fields(context.settings.options)
        self._load = _Load(context.settings)

    async def read_environment(self) -> Mapping[str, str]:
        """Environment files as they are now, and the server that the agent is to find."""
        context = self._context
        environment = await off_loop(context.config.read_environment)
        for problem in environment.problems:
            context.emit(Notice(LogLevel.WARN, problem))
        self._load = _Load(context.settings.loaded(environment))
        return {**environment.plain, **self._server_variables()}

    def check(self, manifest: Manifest) -> ServerOptions:
        """What will be in force once this file is. Raises UserError for what cannot be."""
        self._load.settings = self._checked(manifest)
        return self._load.settings.options

    async def take(self, manifest: Manifest, register: Callable[[], Awaitable[None]], *, first: bool) -> None:
        """Puts the file's own options in force, beside the edits as they are by now, and tells what changed.

        `register` registers under the settings in force. Raises UserError, with everything as it was.
        """
        context, before = self._context, self._context.settings
        # In force before anything is waited for: an edit that comes meanwhile adds to them.
        wanted = self._load.settings = context.settings = self._checked(manifest)
        try:
            await self._move(wanted.options, register)
        except BaseException:
            context.settings = replace(context.settings, environment=before.environment, code=before.code)
            await self._listen_again()
            raise
        for line in overruled(before, wanted):
            context.emit(Notice(LogLevel.WARN, line))
        for name in sorted(unknown(manifest)):
            context.emit(Notice(LogLevel.WARN, f"{name}, set in the agent's code, has no effect here"))
        if not first and (changed := changes(before, wanted)):
            context.emit(OptionsChanged(changed))

    def child_settings(self) -> Callable[[], ChildSettings]:
        """Of what acts inside the children of the load that has begun."""
        load = self._load

        def now() -> ChildSettings:
            try:
                resolution = load.settings.resolution
            except UserError:  # `check` tells it once the file is loaded
                resolution = self._context.settings.resolution
            functions = named_functions(resolution)
            return ChildSettings(
                resolution.options.session_end_timeout,
                functions.get("requestFunc", ""),
                functions.get("loadFunc", ""),
                resolution.options.production,
            )

        return now

    def _checked(self, manifest: Manifest) -> Settings:
        settings = self._context.settings.loaded(self._load.settings.environment, manifest)
        check_functions(settings.resolution, manifest)
        registration_for(settings.options, "")
        return settings

    async def _move(self, options: ServerOptions, register: Callable[[], Awaitable[None]]) -> None:
        """To the server and the port of these options. Raises UserError, and stays with the old server."""
        context, old, fields = self._context, self._context.server, _server_fields(options)
        found = not context.config.local and fields != self._server_for
        new = await self._find_server(options) if found else old
        try:
            await self._listen(context.settings.options)  # as edited while the server was looked for
            context.server = new
            await register()
        except BaseException:
            context.server = old
            if found:
                await new.close()
                context.emit(old.chosen)
            raise
        if found:
            self._server_for = fields
            await old.close()  # not before the new one is in use: until then it may be needed again

    async def _listen_again(self) -> None:
        """Where it listened before, if it has moved."""
        try:
            await self._listen(self._context.settings.options)
        except UserError as error:  # somebody took the port meanwhile
            self._context.emit(Notice(LogLevel.WARN, f"still listening at the new address: {error}"))

    def _server_variables(self) -> dict[str, str]:
        """Where the agent's code is to connect: what is in use, or what the environment now names instead."""
        address, fields = self._context.server.address, self._server_for
        with contextlib.suppress(UserError):  # `check` tells it once the file is loaded
            fields = _server_fields(self._load.settings.options)
        values = fields[:3]
        if self._context.config.local or fields == self._server_for or not all(values):
            values = address.url, address.api_key, address.api_secret
        return dict(zip(("LIVEKIT_URL", "LIVEKIT_API_KEY", "LIVEKIT_API_SECRET"), values, strict=True))


def _server_fields(options: ServerOptions) -> tuple[str, str, str, str]:
    return options.ws_url, options.api_key, options.api_secret, options.worker_token
