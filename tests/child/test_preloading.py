"""What a base loads for all its forks, on real SDKs."""

import subprocess
from pathlib import Path

import pytest

from ..sdks import ROOT, newest_sdk

pytestmark = [pytest.mark.real, newest_sdk()]  # an older one keeps no context

PRELOAD = """
import os, sys
sys.path.insert(0, sys.argv[1])
from agent_tui.child.python import preloading
preloading.preload(preloading.PRELOAD)
from livekit.agents.utils import http_context
context = getattr(http_context, "_ssl_context_for", None)
print(context.cache_info().currsize if context else "each session has aiohttp's")
print(os.environ.get("SSL_CERT_FILE"), *preloading.asked())
"""


def test_the_tls_context_is_built_for_all_jobs(sdk_python: Path) -> None:
    output = subprocess.run(
        [sdk_python, "-c", PRELOAD, ROOT],
        env={"PATH": "/usr/bin:/bin"},
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    contexts, variables = output.splitlines()
    if contexts != "each session has aiohttp's":
        assert contexts == "1"
        # The base's environment stays as it was; a project with another bundle gets another base.
        assert variables.startswith("None ")
        assert "SSL_CERT_FILE" in variables
