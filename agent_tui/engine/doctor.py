"""Checks of everything that a run needs, each with what to do if it fails."""

import asyncio
import os
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import aiohttp

from agent_tui.engine.config import RunConfig
from agent_tui.engine.endpoint import WorkerInfo
from agent_tui.engine.info_server import InfoServer
from agent_tui.engine.inspection import manifest_of
from agent_tui.engine.servers import DEV_URL, configured, found_here, require_credentials
from agent_tui.files import shown_path
from agent_tui.generations.sources import Sources
from agent_tui.model.child import Manifest
from agent_tui.model.clock import SystemClock
from agent_tui.model.dispatches import exposure
from agent_tui.model.errors import ServerError, UserError
from agent_tui.model.events import InterpreterChosen
from agent_tui.model.wording import counted
from agent_tui.options.declare import ServerOptions
from agent_tui.options.urls import is_loopback, shown_url
from agent_tui.settings.settings import Settings, check_functions, ignored
from agent_tui.worker.messages import Disconnected, Refused, Registered, Registration, WorkerEvent
from agent_tui.worker.refusals import SKEW_S, describe_skew, skew_s
from agent_tui.worker.urls import ServerAddress
from agent_tui.worker.worker import Worker, WorkerOptions

PATIENCE_S = 12.0
NAME = "agent-tui-doctor"
"""An agent name that no room dispatches to."""


class Level(StrEnum):
    """The result of a check."""

    GOOD = "good"
    WARNING = "warning"
    BAD = "bad"


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check found, and what to do about a problem."""

    check: str
    level: Level
    text: str
    advice: str = ""


async def examine(config: RunConfig, settings: Settings) -> AsyncIterator[Finding]:
    """Run all checks, in the order in which a start would fail, and yield their findings."""
    for finding in _runs_on(config.interpreter.chosen()):
        yield finding
    manifest: Manifest | None = None
    try:
        started_at = time.monotonic()
        manifest = await manifest_of(
            config.runtime,
            config.interpreter,
            config.agent,
            config.cwd,
            settings.environment.plain,
            production=settings.options.production,
            head_start=config.head_start,
        )
        settings = replace(settings, manifest=manifest)
        check_functions(settings.resolution, manifest)
        sdk = f"{config.runtime} {manifest.sdk_version or ''}".rstrip()
        yield _good("agent", f"{config.agent.name} loads in {time.monotonic() - started_at:.2f} s ({sdk})")
    except UserError as error:
        yield Finding("agent", Level.BAD, str(error), "fix the file; a running agent-tui reloads it on save")
    for finding in _options(settings):
        yield finding
    async for finding in _server(config, settings):
        yield finding
    yield await _port(settings.options)
    yield _dispatch(settings)
    yield _watched(config, settings, manifest)


def _good(check: str, text: str) -> Finding:
    return Finding(check, Level.GOOD, text)


def _runs_on(chosen: InterpreterChosen) -> list[Finding]:
    misses = "".join(f"; skipped {miss}" for miss in chosen.misses)
    path = shown_path(Path(chosen.path), os.environ)
    text = f"{path} ({chosen.language} {chosen.version}, {chosen.found_as}){misses}"
    others = {"package": chosen.package, "typescript": chosen.typescript}
    return [_good("interpreter", text), *(_good(name, each) for name, each in others.items() if each)]


def _options(settings: Settings) -> list[Finding]:
    environment = settings.environment
    files = [*environment.files, *([environment.config_file] if environment.config_file else [])]
    read = ", ".join(str(each) for each in files)
    found = [_good("options", f"read from {read}" if read else "no environment or config file found")]
    found += [Finding("options", Level.WARNING, each.text, "fix that line") for each in environment.problems]
    plain = Settings(environment, {}, settings.context)
    for line in ignored(plain, settings):
        found.append(Finding("options", Level.WARNING, line, "remove it"))
    return found


async def _server(config: RunConfig, settings: Settings) -> AsyncIterator[Finding]:
    options = settings.options
    if config.local:
        yield _good("server", "embedded (--local), without media")
        return
    if not options.ws_url:
        here = await found_here(options)
        if here is None:
            text = "no server is configured, and none answers at " + DEV_URL
            yield Finding(
                "server",
                Level.WARNING,
                f"{text}: agent-tui starts livekit-server from PATH, or the embedded server without media",
                "for real rooms set LIVEKIT_URL, or start livekit-server --dev",
            )
            return
        address = here
    else:
        try:
            require_credentials(options)
        except UserError as error:
            yield Finding(
                "credentials",
                Level.BAD,
                str(error),
                "get them from the server's operator, or from your LiveKit Cloud project",
            )
            return
        address = configured(options)
    if not is_loopback(address.url) and urlsplit(address.url).scheme in ("ws", "http"):
        yield Finding(
            "server",
            Level.WARNING,
            f"{shown_url(address.url)} is not encrypted: tokens cross the network in plain text",
            "use wss:// if the server supports it",
        )
    registration, knows_deployments = await _registration(address)
    yield registration
    if registration.level is Level.GOOD:
        yield await _clock(address)
    deployment = _deployment(settings, knows_deployments=knows_deployments)
    if deployment is not None:
        yield deployment


async def _registration(address: ServerAddress) -> tuple[Finding, bool]:
    """Register for a moment, under a name that nothing dispatches to.

    Return the finding, and whether the server supports deployments; True if it did not answer.
    """
    first: asyncio.Future[Registered | Disconnected | Refused] = asyncio.get_running_loop().create_future()

    def on_event(_: Worker, event: WorkerEvent) -> None:
        if isinstance(event, (Registered, Disconnected, Refused)) and not first.done():
            first.set_result(event)

    async def no_load() -> float:
        return 1.0

    worker = Worker(
        registration=Registration(agent_name=NAME),
        server=address,
        on_event=on_event,
        measure_load=no_load,
        production=True,
        options=WorkerOptions(load_threshold=0.0, max_retry=0),
        clock=SystemClock(),
    )
    running = asyncio.create_task(worker.run(), name="doctor's registration")
    try:
        async with asyncio.timeout(PATIENCE_S):
            answer = await first
            why = answer.reason if not isinstance(answer, Registered) else ""
    except TimeoutError:
        answer, why = None, f"no answer within {PATIENCE_S:g} s"
    finally:
        await worker.close()
        ended = (await asyncio.gather(running, return_exceptions=True))[0]
    where = shown_url(address.url)
    if isinstance(answer, Registered):
        version = answer.server_version or "(no version)"
        return _good(
            "server", f"{where} accepts the credentials; LiveKit {version}"
        ), answer.knows_deployments
    if isinstance(ended, ServerError):
        why = str(ended)
    check = "check LIVEKIT_URL, LIVEKIT_API_KEY, and LIVEKIT_API_SECRET"
    return Finding("server", Level.BAD, f"{where}: {why}", check), True


async def _clock(address: ServerAddress) -> Finding:
    parts = urlsplit(address.url)
    scheme = "https" if parts.scheme in ("wss", "https") else "http"
    url = urlunsplit((scheme, parts.netloc, "/", "", ""))
    try:
        async with (
            aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=PATIENCE_S)) as session,
            session.get(url) as response,
        ):
            date = response.headers.get("Date", "")
    except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as error:
        return Finding(
            "clock",
            Level.WARNING,
            f"cannot read the server's time: {error}",
            "ignore this if the worker registers",
        )
    skew = skew_s(date, time.time())
    if skew is None:
        return Finding(
            "clock", Level.WARNING, "the server sends no Date header", "ignore this if the worker registers"
        )
    if abs(skew) > SKEW_S:
        return Finding(
            "clock",
            Level.BAD,
            describe_skew(skew),
            "set the clock (timedatectl set-ntp true): the server refuses tokens with a wrong time",
        )
    return _good("clock", f"within {max(abs(skew), 1):.0f} s of the server's clock")


async def _port(options: ServerOptions) -> Finding:
    info = WorkerInfo("", "", 0, "", 0.0, agent_name_is_env=False, deployment="", project_type="")
    server = InfoServer(host=options.host, port=options.port, health=lambda: None, info=lambda: info)
    try:
        await server.start()
    except UserError as error:
        return Finding("port", Level.BAD, str(error), "choose another --port")
    await server.close()
    free = f"port {options.port} on {options.host} is free"
    return _good("port", free if options.port else f"a free port on {options.host} will be picked")


def _deployment(settings: Settings, *, knows_deployments: bool) -> Finding | None:
    """Return a finding about the deployment on the configured server; None if it does not matter."""
    options = settings.options
    if not settings.context.personal_deployment or not options.ws_url:
        return None
    exposed = exposure(
        options.ws_url,
        options.deployment,
        knows_deployments=knows_deployments,
        production=options.production,
    )
    if exposed:
        own = f"use --deployment {settings.context.personal_deployment}"
        advice = own if knows_deployments else "use --agent-name with a name that nothing dispatches"
        return Finding("deployment", Level.WARNING, exposed, advice)
    if not options.deployment:
        return None
    if not knows_deployments:
        text = f"the server ignores deployment {options.deployment}"
        return Finding("deployment", Level.WARNING, text, "update it to LiveKit 1.12, or use --agent-name")
    layer, where = settings.resolution.sources["deployment"]
    return _good(
        "deployment", f"{options.deployment} ({where or layer}): only dispatches that name it arrive"
    )


def _dispatch(settings: Settings) -> Finding:
    options, resolution = settings.options, settings.resolution
    layer, where = resolution.sources["agentName"]
    if options.agent_name:
        return _good(
            "dispatch",
            f"explicit: jobs only for agent name {options.agent_name!r} ({where or layer}), "
            "through CreateDispatch or a token's room configuration",
        )
    each = {"room": "every new room", "publisher": "every publisher", "participant": "every participant"}
    only = ", if its room names the deployment" if options.deployment else ""
    return _good("dispatch", f"automatic: {each[options.server_type]} gets the agent (no agentName){only}")


def _watched(config: RunConfig, settings: Settings, manifest: Manifest | None) -> Finding:
    if not config.watch:
        return Finding("saves", Level.WARNING, "not watched (--no-watch)", "press r after a save")
    sources = Sources(config.agent, cwd=config.cwd, globs=config.watch_globs)
    if manifest is not None:
        sources.learn(manifest.roots, manifest.files)
    snapshot = sources.read()
    modules, others = len(snapshot.modules), len(snapshot.others)
    return _good("saves", f"{counted(modules, 'module')} and {counted(others, 'other file')} watched")
