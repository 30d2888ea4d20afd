"""What all children of a livekit-agents file share: the SDK imported, its mode, its logging, its runners.

The SDK is imported before `Loading` is sent, so that its import is not counted as the file's.
"""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
from typing import TYPE_CHECKING, Any

from .lk_capture import Capture

if TYPE_CHECKING:
    from .process import Link

FUNCTIONS = {
    "entry": "_entrypoint_fnc",
    "prewarm": "_setup_fnc",
    "session_end": "_session_end_fnc",
    "simulation_end": "_simulation_end_fnc",
    "http_proxy": "_http_proxy",
}
"""What a job process needs of the server."""

PICKLED, GUARD = "pickle:", "guard:"
"""`Manifest.functions`: either the pickled functions, or why they could not be and the file runs in full."""


def import_sdk(link: Link) -> Capture:
    """Imports the SDK and replaces its ways to start a worker."""
    capture = Capture(link.orders.file)
    importlib.import_module("livekit.agents")
    capture.install()
    return capture


def inherit_mode(link: Link) -> None:
    """The variable that `python agent.py dev` hands down to its children; `start` does not."""
    if not link.orders.production:
        os.environ["LIVEKIT_DEV_MODE"] = "1"


def set_mode(link: Link) -> None:
    """What `python agent.py dev`, or `start` in production, sets before it starts children."""
    inherit_mode(link)
    http_context = importlib.import_module("livekit.agents.utils.http_context")
    if hasattr(http_context, "_set_default_cert_env"):  # since 1.8
        http_context._set_default_cert_env()


def set_up_logging(link: Link) -> None:
    """Levels as the SDK's worker sets them, and our handler if the file's set-up threw it out."""
    from livekit.agents import log, plugin

    with contextlib.suppress(ImportError, AttributeError):
        importlib.import_module("livekit.agents.cli.log")._silence_noisy_loggers()
    loggers = [log.logger, *(each.logger for each in plugin.Plugin.registered_plugins)]
    for each in loggers:
        if each is not None and each.level == logging.NOTSET:
            each.setLevel(link.orders.log_level)
    if hasattr(log, "_add_global_log_fields"):
        log._add_global_log_fields(link.records)
    link.records.install()
    logging.getLogger().setLevel(link.orders.log_level)


def runners() -> dict[str, Any]:
    """The inference runners that the file's plugins registered, by method."""
    module = importlib.import_module("livekit.agents.inference_runner")
    return dict(module._InferenceRunner.registered_runners)
