"""What an ordinary voice agent says if a key or a plugin is missing, or a provider does not answer."""

import os
from pathlib import Path
from typing import Any

import pytest

from tests.cli.support import finished
from tests.nodes import needs_node, newest_node, project
from tests.sdks import each_sdk, sdk_in_turn

pytestmark = [pytest.mark.real, pytest.mark.timeout(180)]

PYTHON = """
import os
from livekit.agents import Agent, AgentServer, AgentSession, APIConnectOptions, JobContext, cli, inference
from livekit.agents.voice.agent_session import SessionConnectOptions
@PLUGIN

server = AgentServer()


@server.rtc_session()
async def entry(ctx: JobContext):
    key = os.environ["SOME_API_KEY"]
    llm = inference.LLM("openai/gpt-4o-mini", base_url="http://127.0.0.1:9/v1", api_key=key, api_secret=key)
    retry = APIConnectOptions(max_retry=2, retry_interval=0.05)
    session = AgentSession(llm=llm, conn_options=SessionConnectOptions(llm_conn_options=retry))
    await session.start(Agent(instructions="x"), room=ctx.room)


if __name__ == "__main__":
    cli.run_app(server)
"""

JAVASCRIPT = """
import { ServerOptions, cli, defineAgent, inference, voice } from '@livekit/agents';
@PLUGIN
export default defineAgent({
  entry: async (ctx) => {
    const apiKey = process.env.SOME_API_KEY;
    if (!apiKey) throw new Error('Some API key is required, whether as an argument or as $SOME_API_KEY');
    const baseURL = 'http://127.0.0.1:9/v1';
    const llm = new inference.LLM({ model: 'openai/gpt-4o-mini', baseURL, apiKey, apiSecret: apiKey });
    const connOptions = { llmConnOptions: { maxRetry: 2, retryIntervalMs: 50, timeoutMs: 10000 } };
    const session = new voice.AgentSession({ llm, connOptions });
    await session.start({ agent: new voice.Agent({ instructions: 'x' }), room: ctx.room });
    await ctx.connect();
  },
});
cli.runApp(new ServerOptions({ agent: import.meta.filename }));
"""

SAY: tuple[object, ...] = ("--local", "--json", "--port", 0, "--exit-when-idle", "--say", "hello")
KEY = "SOME_API_KEY is not set; set SOME_API_KEY in .env (a new file), then save"
SET = "set LIVEKIT_INFERENCE_API_KEY and LIVEKIT_INFERENCE_API_SECRET in .env, then save"
PROJECT = f"LiveKit Inference needs a project of LiveKit Cloud: {SET}; R restarts a call with it"


def written(folder: Path, text: str, plugin: str = "", name: str = "agent.py") -> Path:
    agent = folder / name
    agent.write_text(text.replace("@PLUGIN", plugin))
    return agent


def failures(events: list[dict[str, Any]]) -> list[tuple[object, ...]]:
    return [(each["component"], each["kind"], each["count"], each["retrying"]) for each in events]


@each_sdk()
async def test_a_missing_plugin_names_the_command_that_installs_it(sdk_python: Path, tmp_path: Path) -> None:
    agent = written(tmp_path, PYTHON, "from livekit.plugins import deepgram, silero")
    code, run = await finished(agent, *SAY, "--python", sdk_python, cwd=tmp_path)
    assert code == 1
    (failed,) = run.all("generation_failed")
    names = "livekit-plugins-deepgram livekit-plugins-silero"
    assert failed["error"] == f"{names.replace(' ', ', ')} are not installed"
    assert failed["todo"] == f"run {sdk_python} -m pip install {names}, then reload (r)"
    assert f"{failed['error']} (agent.py:5); {failed['todo']}\n" in run.stderr


@sdk_in_turn()
async def test_a_missing_key_names_the_variable_and_the_file(sdk_python: Path, tmp_path: Path) -> None:
    code, run = await finished(written(tmp_path, PYTHON), *SAY, "--python", sdk_python, cwd=tmp_path)
    assert code == 1
    (ended,) = run.all("job_ended")
    assert f"{ended['reason']}; {ended['todo']}" == KEY
    assert "KeyError" in ended["traceback"]
    assert f"agent-tui: {KEY}\n" in run.stderr


@each_sdk()
async def test_a_provider_that_is_not_reached_is_named_and_its_failures_are_counted(
    sdk_python: Path, tmp_path: Path
) -> None:
    (tmp_path / ".env").write_text("SOME_API_KEY=x\n")
    code, run = await finished(written(tmp_path, PYTHON), *SAY, "--python", sdk_python, cwd=tmp_path)
    assert code == 1
    errors = run.all("session_error")
    assert {(each["error"], each["host"]) for each in errors} == {
        ("could not connect to 127.0.0.1", "127.0.0.1")
    }
    assert failures(errors) == [
        ("llm", "unreachable", 1, True),
        ("llm", "unreachable", 2, True),
        ("llm", "unreachable", 3, False),
    ]
    assert errors[-1]["todo"] == PROJECT
    assert f"agent-tui: LLM: could not connect to 127.0.0.1; {PROJECT}\n" in run.stderr


@needs_node
async def test_agents_js_says_the_same(tmp_path: Path) -> None:
    project(tmp_path)
    environ = {"PATH": f"{newest_node().parent}{os.pathsep}/usr/bin:/bin"}
    plugin = "import * as rime from '@livekit/agents-plugin-rime';"
    agent = written(tmp_path, JAVASCRIPT, plugin, "agent.mjs")
    code, run = await finished(agent, *SAY, cwd=tmp_path, environ=environ)
    assert code == 1
    (failed,) = run.all("generation_failed")
    assert failed["error"] == "@livekit/agents-plugin-rime is not installed"
    assert failed["todo"] == "run npm install @livekit/agents-plugin-rime, then reload (r)"

    written(tmp_path, JAVASCRIPT, name="agent.mjs")
    code, run = await finished(agent, *SAY, cwd=tmp_path, environ=environ)
    assert code == 1
    assert f"agent-tui: {KEY}\n" in run.stderr

    (tmp_path / ".env").write_text("SOME_API_KEY=x\n")
    code, run = await finished(agent, *SAY, cwd=tmp_path, environ=environ)
    assert code == 1
    errors = run.all("session_error")
    assert {each["error"] for each in errors} == {"could not connect to LiveKit Inference"}
    assert [each[1:] for each in failures(errors)] == [
        ("unreachable", 1, True),
        ("unreachable", 2, True),
        ("unreachable", 3, False),
    ]
    assert f"agent-tui: LLM: could not connect to LiveKit Inference; {PROJECT}\n" in run.stderr
