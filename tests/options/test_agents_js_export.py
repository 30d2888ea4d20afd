"""Options exported as TypeScript: an agents-js file that uses the module has the same options."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from agent_tui.options.declare import DefaultsContext
from agent_tui.options.envfiles import Environment
from agent_tui.options.export import FORMATS
from agent_tui.options.permissions import Permissions
from agent_tui.options.resolve import SourcedValue
from agent_tui.settings.settings import Settings
from tests.nodes import needs_node
from tests.runtimes.node.support import host_of

BASIS = DefaultsContext("agents-js", cores=2)
EXPORTED: dict[str, object] = {
    "agentName": 'it\'s the "front desk"',
    "serverType": "publisher",
    "permissions": Permissions(hidden=True, can_publish=False, can_publish_sources=("microphone", "camera")),
    "loadThreshold": 0.5,
    "numIdleProcesses": 3,
    "initializeProcessTimeout": 12_000,
    "shutdownProcessTimeout": 4_000,
    "sessionEndTimeout": 1_500,
    "drainTimeout": 9_000,
    "jobMemoryWarnMB": 300,
    "jobMemoryLimitMB": 512.5,
    "logLevel": "debug",
    "maxRetry": 4,
    "host": "0.0.0.0",
    "port": 8082,
    "wsURL": "wss://cloud.example",
}


def settings(**flags: object) -> Settings:
    given = {name: SourcedValue(value, name) for name, value in flags.items()}
    return Settings(Environment({}, (), ()), given, BASIS)


def typescript(agent: str, **flags: object) -> str:
    return FORMATS["typescript"](settings(agent=agent, **flags).resolution, BASIS)


@pytest.mark.parametrize(
    ("agent", "url", "compiled"),
    [
        ("agent.mjs", "./agent.mjs", ""),
        ("/home/ann/desk/src/main.ts", "./main.ts", ".js"),
        ("desk.cts", "./desk.cts", ".cjs"),
        ("it's #1?.js", "./it%27s%20%231%3F.js", ""),
        ("agent.py", "./agent.js", ""),
    ],
)
def test_it_names_the_agents_file(agent: str, url: str, compiled: str) -> None:
    text = typescript(agent)
    assert f"agent: fileURLToPath(new URL('{url}', import.meta.url))," in text
    assert (f"// {compiled} after compiling" in text) == bool(compiled)


@pytest.mark.real
@needs_node
@pytest.mark.parametrize(("agent", "exported"), [("agent.ts", "exported.ts"), ("agent.mjs", "exported.mjs")])
async def test_an_agents_js_file_with_the_exported_options_has_the_same(
    agent: str, exported: str, tmp_path: Path
) -> None:
    before = settings(agent=agent, **EXPORTED)
    main = f"""
        import {{ cli, defineAgent }} from '@livekit/agents';
        import options from './{exported.replace(".ts", ".js")}';
        export default defineAgent({{ entry: async () => {{}} }});
        cli.runApp(options);
        """
    files = {agent: main, exported: typescript(agent, **EXPORTED)}
    async with host_of(tmp_path, agent, files) as host:
        manifest = await host.manifest()
    after = replace(settings(agent=agent), manifest=manifest)
    assert after.options == before.options
    assert set(manifest.options) == set(EXPORTED)
    assert json.loads(manifest.functions)["agent"] == str(tmp_path / agent)
