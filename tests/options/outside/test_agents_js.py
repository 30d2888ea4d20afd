"""Every option does what it says for an agents-js file, given outside its code and in it."""

from pathlib import Path

import pytest

from tests.nodes import needs_node
from tests.options.outside.cases import CASES, Case
from tests.options.outside.rig import Rig, rigged
from tests.options.outside.test_outside import sources

CODE = {
    "agentName": "agentName: 'tested'",
    "wsURL": "wsURL: @URL",
    "apiKey": "apiKey: 'tested-key'",
    "apiSecret": "apiSecret: 'tested-secret-that-is-long-enough-for-it'",
    "workerToken": "workerToken: 'tested-token'",
    "serverType": "serverType: 1",
    "permissions": "permissions: new WorkerPermissions(false, true, true, true, [], true)",
    "requestFunc": "requestFunc: picky",
    "loadFunc": "loadFunc: busy",
    "loadThreshold": "loadThreshold: 0",
    "numIdleProcesses": "numIdleProcesses: 3",
    "initializeProcessTimeout": "initializeProcessTimeout: 700",
    "shutdownProcessTimeout": "shutdownProcessTimeout: 600",
    "sessionEndTimeout": "sessionEndTimeout: 500",
    "drainTimeout": "drainTimeout: 800",
    "jobMemoryWarnMB": "jobMemoryWarnMB: 9",
    "jobMemoryLimitMB": "jobMemoryLimitMB: 9",
    "logLevel": "logLevel: 'error'",
    "maxRetry": "maxRetry: 0",
    "host": "host: '127.0.0.2'",
    "port": "port: @PORT",
}
"""What the file passes to `new ServerOptions`; `agent`, `production` and `deployment` are not set there."""

ONCE = [
    pytest.param(case, source, id=f"{case.option}-{source}")
    for number, case in enumerate(CASES)
    for source in [
        sources(case)[(number + 1) % len(sources(case))],
        *(["code"] if case.option in CODE else []),
    ]
]


@pytest.mark.real
@pytest.mark.timeout(120)
@needs_node
@pytest.mark.parametrize(("case", "source"), ONCE)
async def test_its_effect_is_seen_from_outside(case: Case, source: str, tmp_path: Path) -> None:
    if case.option == "agent":
        case = Case("agent", "other.mjs", case.seen, _that_file_runs)
    javascript = CODE[case.option] if source == "code" else ""
    async with rigged(case, source, tmp_path, None, javascript) as rig:
        await case.check(rig)


async def _that_file_runs(rig: Rig) -> None:
    starting = await rig.run.until("starting")
    assert starting["agent"].endswith("/other.mjs")
    await rig.recorder.registered()
