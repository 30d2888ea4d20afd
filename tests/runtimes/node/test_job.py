"""Job processes of agents-js files: the SDK's own job main, watched. Each trap of agents-js.md §7, §8, §13."""

import socket
from pathlib import Path

import aiohttp
import pytest

from agent_tui.model import child as ch
from agent_tui.model.logs import LogLevel
from agent_tui.processes.stacks import innermost

from ...nodes import needs_node
from ..support import AGENTS, ended, poll, rest, stacks_of, start_job, until
from .support import host_of

pytestmark = [pytest.mark.real, needs_node]

WAITS = """
import { defineAgent } from '@livekit/agents';
export default defineAgent({ entry: async () => {} });
"""
WORKS = """
import { defineAgent, log } from '@livekit/agents';
export default defineAgent({
  prewarm: (proc) => { proc.userData.warm = process.pid; },
  entry: async (ctx) => {
    console.log(`entered ${ctx.job.room.name}`);
    console.log(ctx.proc.userData.warm === process.pid, ctx.job.type, typeof ctx.job.room.creationTime);
    log().warn({ table: 4 }, 'nearly full');
    console.log('{"level": "mine"}');
    const double = (data) => ctx.inferenceExecutor.doInference('double', data);
    console.log(JSON.stringify(await double({ x: 2 })));
    await double({}).catch((error) => console.log(error.message));
    ctx.addShutdownCallback(async () => console.log('called back'));
    await ctx.connect();
  },
});
"""


async def test_a_job_from_prewarm_to_exit(tmp_path: Path) -> None:
    async with host_of(tmp_path, "agent.mjs", {"agent.mjs": WORKS}) as host:
        child = await host.launch()
        child.send(ch.Ping(1))  # held back: the SDK's main would lose it during initialization
        assert await child.receive() == ch.Loading()
        assert await child.receive() == ch.Ready()
        child.send(ch.Ping(2))
        assert await until(child, ch.Pong) == ch.Pong(2)
        for _ in range(20):  # a timer of the SDK may be running
            child.send(ch.DumpStacks())
            if "the event loop waits" in (stacks := (await until(child, ch.Stacks)).text):
                break
        assert "the event loop waits" in stacks

        child.send(start_job("salon"))
        assert (await until(child, ch.EntryStarted)).at > 1e9
        asked = await until(child, ch.InferenceRequest)
        assert (asked.method, asked.data) == ("double", b'{"x": 2}')
        child.send(ch.InferenceResponse(asked.request_id, b'{"y": 4}', ""))
        asked = await until(child, ch.InferenceRequest)
        child.send(ch.InferenceResponse(asked.request_id, None, "the model is gone"))
        assert (await until(child, ch.JobConnected)).at > 1e9

        child.send(ch.Shutdown("enough"))
        told = await rest(child)
        assert told[0] == ch.ShutdownAck()
        assert told[1:] == [ch.Exiting("enough"), ch.ShuttingDown()]
        assert (await ended(child)).exit_code == 0
        host.sink.join()
        ((level, _, fields),) = host.sink.logged("nearly full")
        assert (level, fields["table"]) == (LogLevel.WARN, 4)
        assert host.sink.printed() == [
            "entered salon",
            "true JT_ROOM string",  # as under the SDK: a plain object, with enums by name and int64 as text
            '{"level": "mine"}',
            '{"y":4}',
            "inference of double failed: the model is gone",
            "called back",
        ]


async def test_an_uncaught_error_is_reported(tmp_path: Path) -> None:
    agent = """
        import { defineAgent } from '@livekit/agents';
        export default defineAgent({
          entry: async () => {
            setTimeout(() => { throw new Error('too late'); }, 1);
          },
        });
    """
    async with host_of(tmp_path, "agent.mjs", {"agent.mjs": agent}) as host:
        child = await host.launch()
        await until(child, ch.Ready)
        child.send(start_job())
        assert (await until(child, ch.JobCrashed)).error == "Error: too late"
        assert (await ended(child)).exit_code == 1


@pytest.mark.parametrize(
    ("body", "error", "line"),
    [
        ("export default defineAgent({ entry: async () => {},\n prewarm: () => { throw new Error('no model'); }});",
         "Error: no model", 3),
        ("export const entry = 1;", "TypeError: {file} has no default export; it needs", None),
        ("export default { ...defineAgent({ entry: async () => {} }) };",
         "TypeError: the default export of {file} was not made with defineAgent({{ entry }})", None),
        ("export default () => {};",
         "TypeError: the default export of {file} was not made with defineAgent({{ entry }})", None),
        ("\nthrow new RangeError('at the top');", "RangeError: at the top", 3),
        ("\n\nconst x = ;", "SyntaxError: Unexpected token ';'", 4),
        ("process.exit(0);", "Error: process.exit(0) was called while the file was loaded", 2),
        ("Promise.reject(new Error('nobody waits'));\nexport default defineAgent({ entry: async () => {} });",
         "Error: nobody waits", 2),
        ("import './lacking.js';", "Error: Cannot find module '{folder}/lacking.js'", 2),
    ],
)  # fmt: skip
async def test_what_does_not_load_or_prewarm_says_why(
    tmp_path: Path, body: str, error: str, line: int | None
) -> None:
    text = "import { defineAgent } from '@livekit/agents';\n" + body + "\n"
    async with host_of(tmp_path, "agent.mjs", {"agent.mjs": text}, stand_in=True) as host:
        child = await host.launch()
        failed = await until(child, ch.Failed)
        assert failed.error.startswith(error.format(file=host.file, folder=tmp_path))
        assert failed.line == line
        if line:
            assert failed.file == str(host.file)
        assert (await ended(child)).exit_code == (0 if "exit(0)" in body else 1)


@pytest.mark.parametrize(
    ("body", "what"),
    [
        ("export default defineAgent({ entry: async () => {}, prewarm: () => new Promise(() => {}) });", "prewarm function"),
        ("await new Promise(() => {});", "top-level await"),
    ],
)  # fmt: skip
async def test_code_that_waits_for_nothing_says_so_under_the_whole_sdk(
    tmp_path: Path, body: str, what: str
) -> None:
    text = "import { defineAgent } from '@livekit/agents';\n" + body + "\n"
    async with host_of(tmp_path, "agent.mjs", {"agent.mjs": text}) as host:
        child = await host.launch()
        failed = await until(child, ch.Failed)
        assert failed.error == f"Error: the {what} of agent.mjs waits for a promise that nothing will resolve"
        assert failed.line is None
        assert (await ended(child)).exit_code == 1


@pytest.mark.parametrize("name", ["agent.mjs", "agent.cjs"])
async def test_an_agent_file_that_is_gone_is_named_and_not_what_imports_it(tmp_path: Path, name: str) -> None:
    async with host_of(tmp_path, name, {name: ""}, stand_in=True) as host:
        host.file.unlink()
        failed = await until(await host.launch(), ch.Failed)
        assert failed.error == f"Error: Cannot find module '{host.file}'"
        assert failed.file is None


@pytest.mark.parametrize(
    "load",
    ["import data from './data.json' with { type: 'json' };", "const data = createRequire(import.meta.url)('./data.json');"],
)  # fmt: skip
async def test_a_json_file_that_does_not_parse_is_named_with_its_line(tmp_path: Path, load: str) -> None:
    agent = f"import {{ createRequire }} from 'node:module';\n{load}\n"
    files = {"agent.mjs": agent, "data.json": '{"a": 1,\n "b": 2 3}\n'}
    async with host_of(tmp_path, "agent.mjs", files, stand_in=True) as host:
        failed = await until(await host.launch(), ch.Failed)
        assert failed.error.startswith("SyntaxError: ")
        assert (failed.file, failed.line) == (str(tmp_path / "data.json"), 2)


async def test_prewarm_that_exits_keeps_its_code(tmp_path: Path) -> None:
    agent = """
        import { defineAgent } from '@livekit/agents';
        export default defineAgent({ entry: async () => {}, prewarm: () => process.exit(3) });
    """
    async with host_of(tmp_path, "agent.mjs", {"agent.mjs": agent}, stand_in=True) as host:
        child = await host.launch()
        failed = await until(child, ch.Failed)
        assert failed.error == "Error: process.exit(3) was called while its prewarm function ran"
        assert (failed.file, failed.line) == (str(host.file), 3)
        assert (await ended(child)).exit_code == 3


async def test_a_commonjs_agent_gets_the_commonjs_main(tmp_path: Path) -> None:
    agent = """
        const { defineAgent, getJobContext } = require('@livekit/agents');
        module.exports = defineAgent({
          entry: async (ctx) => {
            console.log(getJobContext() === ctx, __filename, require.main === module, process.argv[2]);
            ctx.shutdown('x');
          },
        });
    """
    async with host_of(tmp_path, "agent.cjs", {"agent.cjs": agent}) as host:
        child = await host.launch()
        await until(child, ch.Ready)
        child.send(start_job())
        await rest(child)
        await ended(child)
        host.sink.join()
        file = host.file
        assert host.sink.printed()[-1] == f"true {file} false {file}"


async def test_a_starter_project_without_media_meets_a_stand_in_participant(tmp_path: Path) -> None:
    files = {each.name: each.read_text() for each in (AGENTS / "js_starter").iterdir()}
    async with host_of(tmp_path, "main.ts", files) as host:
        child = await host.launch()
        await until(child, ch.Ready)
        child.send(start_job())
        await rest(child)
        await ended(child)
        host.sink.join()
        caller = '["agent-tui-caller","","free",{},["agent-tui-caller"]]'
        assert host.sink.printed() == [caller, "You said: Hello, agent-tui-caller"]


BLOCKS = """
import { existsSync } from 'node:fs';
import { defineAgent } from '@livekit/agents';
function block(go: string): void {
  while (!existsSync(go)) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 20);
}
export default defineAgent({
  entry: async (ctx) => {
    await new Promise((done) => setTimeout(done, 50));
    console.log('blocks');
    block('go');
    ctx.shutdown('x');
  },
});
"""


async def test_the_stack_of_a_blocked_loop(tmp_path: Path) -> None:
    async with host_of(tmp_path, "agent.ts", {"agent.ts": BLOCKS}) as host:
        child = await host.launch()
        await until(child, ch.Ready)
        child.send(start_job())
        await poll(lambda: host.sink.printed() == ["blocks"])
        stacks = await stacks_of(child, "agent.ts:5 in block")
        assert innermost(stacks) == (str(host.file), 5, "block")
        (tmp_path / "go").touch()
        assert ch.Exiting("x") in await rest(child)
        assert (await ended(child)).exit_code == 0  # no inspector session delays it


async def test_the_stack_of_native_code_is_not_known(tmp_path: Path) -> None:
    """It runs, so the event loop does not wait; on a busy machine JavaScript may take as long to pause."""
    agent = """
        import { pbkdf2Sync } from 'node:crypto';
        import { defineAgent } from '@livekit/agents';
        const prewarm = () => {
          console.log('computes');
          pbkdf2Sync('key', 'salt', 1e8, 64, 'sha512');
        };
        export default defineAgent({ entry: async () => {}, prewarm });
    """
    async with host_of(tmp_path, "agent.mjs", {"agent.mjs": agent}, stand_in=True) as host:
        child = await host.launch()
        await poll(host.sink.printed)
        stacks = ""
        while "not known" not in stacks:  # it may still be on its way into the computation
            child.send(ch.DumpStacks())
            stacks = (await until(child, ch.Stacks)).text
        assert stacks == "Thread MainThread:\n    (not known: it did not pause)\n"


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


async def test_a_job_waits_for_a_debugger_and_is_then_left_alone(tmp_path: Path) -> None:
    async with host_of(tmp_path, "agent.mjs", {"agent.mjs": WAITS}) as host:
        child = await host.launch()
        await until(child, ch.Ready)
        port = free_port()
        child.send(start_job(debug_port=port))
        assert await until(child, ch.Debugging) == ch.Debugging(attached=True)
        async with aiohttp.ClientSession() as session:
            await poll(lambda: any("waiting for a debugger" in each for each in host.sink.printed("stderr")))
            async with session.get(f"http://127.0.0.1:{port}/json") as response:
                (target,) = await response.json(content_type=None)
            async with session.ws_connect(target["webSocketDebuggerUrl"]) as debugger:
                for number, method in enumerate(("Debugger.enable", "Runtime.runIfWaitingForDebugger")):
                    await debugger.send_json({"id": number, "method": method})
                async for message in debugger:
                    if message.json().get("method") == "Debugger.paused":
                        break
                await debugger.send_json({"id": 3, "method": "Debugger.resume"})
                await until(child, ch.EntryStarted)
