"""The control process of a native file: loads it, reports its manifest, and runs its functions."""

from __future__ import annotations

import dataclasses
import inspect
import os
import time
from typing import TYPE_CHECKING, Any, Callable

from . import loading, native, project_files
from .control import ControlLoop, Offer

if TYPE_CHECKING:
    from .process import HostLink

MODULE = "__mp_main__"
"""A native file does not run as `__main__`, so that its `if __name__ == "__main__":` does nothing here."""


class NativeAgent:
    """A `LoadedAgent` that wraps the functions of a native file."""

    def __init__(self, agent: native.Agent) -> None:
        self.worker = native.Worker()
        self.load: Callable[[], Any] | None = None
        self._request = agent.request_func
        if agent.load_func is not None:
            self._load_func = agent.load_func
            self.load = lambda: self._load_func(self.worker)

    async def request(self, job: Any, offer: Offer) -> None:
        request = native.Request(native.record(job), offer)
        if self._request is None:
            await request.accept()
            return
        result = self._request(request)
        if inspect.isawaitable(result):
            await result

    def live(self, value: dict[str, Any]) -> None:
        self.worker.id = value["worker_id"]
        self.worker.draining = value["draining"]
        self.worker.active_jobs = [native.record(each) for each in value["active_jobs"]]


def run(link: HostLink) -> None:
    """Send `Loading`, then `Manifest` or `Failed`. After a manifest, answer the host until it asks to end."""
    link.send("loading")
    started = time.monotonic()
    try:
        with project_files.ThirdPartyImports() as others:
            module = loading.run_file(link.spec.file, MODULE)
        agent = native.find_agent(module, link.spec.file)
        set_in_code = _functions(agent)
        agent = dataclasses.replace(
            agent,
            request_func=loading.function(link.spec.request_func) or agent.request_func,
            load_func=loading.function(link.spec.load_func) or agent.load_func,
        )
    except BaseException as error:
        link.fail(error)
        raise SystemExit(1) from None
    link.records.install()
    loading.hand_over_code(link.send)
    link.send(
        "manifest",
        runtime="native",
        sdk_version=None,
        options=set_in_code,
        has_entry=True,
        has_prewarm=agent.prewarm is not None,
        has_request_func=agent.request_func is not None,
        has_load_func=agent.load_func is not None,
        inference_runners=[],
        functions="",
        load_ms=(time.monotonic() - started) * 1000,
        imports=others.names,
        **loading.facts(link.spec.file),
    )
    ControlLoop(link, NativeAgent(agent)).run()


def _functions(agent: native.Agent) -> dict[str, dict[str, str]]:
    """Return the functions that are also options: their names, and where they are defined."""
    found = {"requestFunc": agent.request_func, "loadFunc": agent.load_func}
    return {
        option: {"value": getattr(function, "__name__", option).strip("<>"), "where": _where(function)}
        for option, function in found.items()
        if function is not None
    }


def _where(function: Callable[..., Any]) -> str:
    code = getattr(function, "__code__", None)
    return f"{os.path.basename(code.co_filename)}:{code.co_firstlineno}" if code else ""
