"""The control process of agents-js files: what it reports, and its functions."""

import math
from pathlib import Path

import pytest

from agent_tui.model import child as ch

from ...nodes import needs_node
from ..support import ended, make_job, poll, rest, until
from .support import host_of

pytestmark = [pytest.mark.real, needs_node]

MAIN = """
import { fileURLToPath } from 'node:url';
import { ServerOptions, WorkerPermissions, cli, defineAgent } from '@livekit/agents';
import { limit } from './limits.mjs';

export const onRequest = async (req) => {
  if (req.room.name === 'full') return req.reject();
  if (req.room.name === 'raises') throw new Error('no seat');
  if (req.room.name === 'silent') return;
  if (req.room.name === 'twice') {
    await req.accept('ann');
    await req.accept('bob');
  }
  await req.accept('ann', 'id-' + req.job.type, typeof req.room.creationTime, { seat: 4 });
};
export async function measure(worker) {
  return worker.activeJobs.length / 4;
}
export default defineAgent({ entry: async () => {}, prewarm: () => {} });

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  cli.runApp(
    new ServerOptions({
      agent: fileURLToPath(import.meta.url),
      agentName: 'front desk',
      requestFunc: onRequest,
      loadFunc: measure,
      loadThreshold: limit,
      numIdleProcesses: undefined,
      serverType: 1,
      permissions: new WorkerPermissions(true, false, true, true, [2], true),
      drainTimeout: 1234,
    }),
  );
}
"""
FILES = {"agent.mjs": MAIN, "limits.mjs": "export const limit = Infinity;\n"}


def offer(room: str) -> ch.AskRequest:
    return ch.AskRequest(make_job(room, f"AJ_{room}"), f"AJ_{room}")


async def test_the_manifest_has_what_run_app_was_given_and_starts_nothing(tmp_path: Path) -> None:
    """And each offer gets one answer; the load function sees the running jobs."""
    async with host_of(tmp_path, "agent.mjs", FILES) as host:
        manifest = await host.manifest()
        where = f"agent.mjs:{MAIN.splitlines().index('    new ServerOptions({') + 1}"
        assert {name: each.value for name, each in manifest.options.items()} == {
            "agentName": "front desk",
            "requestFunc": "onRequest",
            "loadFunc": "measure",
            "loadThreshold": math.inf,
            "serverType": "publisher",
            "permissions": {
                "canPublish": True,
                "canSubscribe": False,
                "canPublishData": True,
                "canUpdateMetadata": True,
                "canPublishSources": ["microphone"],
                "hidden": True,
            },
            "drainTimeout": 1234,
        }
        assert {each.where for each in manifest.options.values()} == {where}
        assert (manifest.runtime, manifest.has_prewarm) == ("agents-js", True)
        assert manifest.sdk_version is not None
        assert (manifest.has_request_func, manifest.has_load_func) == (True, True)
        assert set(manifest.files) == {str(host.file), str(tmp_path / "limits.mjs")}
        assert set(manifest.function_names) == {"onRequest", "measure"}

        (child,) = host.children
        silent = "the request function returned without accepting or rejecting"
        refused = (("full", None), ("raises", "Error: no seat"), ("silent", silent))
        for room, error in refused:
            child.send(offer(room))
            assert await until(child, ch.RequestAnswer) == ch.RequestAnswer(f"AJ_{room}", None, error=error)
        child.send(offer("open"))
        accepted = await until(child, ch.RequestAnswer)
        # In requestFunc the job is the SDK's type: numbers for enums, bigint for int64.
        assert accepted.accept == ch.AcceptArguments(
            "id-0", "ann", "bigint", {"seat": "4", "lk.agent.name": "registered"}
        )
        child.send(offer("twice"))
        assert (await until(child, ch.RequestAnswer)).accept is not None
        child.send(ch.Ping(7))
        assert await child.receive() == ch.Pong(7)  # and no second answer

        job = ch.ActiveJob(make_job(), ch.AcceptArguments("ann"), "ws://x", "token", "AW_1")
        child.send(ch.WorkerLive("AW_1", (job, job, job), draining=False))
        child.send(ch.AskLoad(5))
        assert await until(child, ch.LoadAnswer) == ch.LoadAnswer(5, 0.75)


async def test_functions_that_options_name_replace_the_files_choice_and_may_fail(tmp_path: Path) -> None:
    agent = """
        import { ServerOptions, cli, defineAgent } from '@livekit/agents';
        export default defineAgent({ entry: async () => {} });
        const answers = [() => { throw new Error('sync'); }, () => NaN, () => 0.5, async () => Promise.reject(7)];
        export const flaky = () => answers.shift()();
        export const full = (req) => req.reject();
        const none = () => { throw new Error('not this one'); };
        cli.runApp(new ServerOptions({ agent: import.meta.filename, loadFunc: none, requestFunc: none }));
    """
    async with host_of(tmp_path, "agent.mjs", {"agent.mjs": agent}) as host:
        manifest = await host.manifest(load_func="flaky", request_func="full")
        assert (manifest.has_load_func, manifest.has_request_func) == (True, True)
        (child,) = host.children
        told = []
        for number in range(4):
            child.send(ch.AskLoad(number))
            answer = await until(child, ch.LoadAnswer)
            told.append(answer.error if answer.load is None else answer.load)
        assert told == ["Error: sync", "RangeError: the load function returned NaN", 0.5, "Error: 7"]
        child.send(offer("open"))
        assert await until(child, ch.RequestAnswer) == ch.RequestAnswer("AJ_open", None)


async def test_without_functions_there_are_none_and_the_sdks_own_runner_is_registered_lazily(
    tmp_path: Path,
) -> None:
    plain = """
        import { defineAgent } from '@livekit/agents';
        export default defineAgent({ entry: async () => {} });
    """
    async with host_of(tmp_path, "agent.mjs", {"agent.mjs": plain}) as host:
        manifest = await host.manifest()
        assert (manifest.has_request_func, manifest.has_load_func, manifest.has_prewarm) == (False,) * 3
        assert dict(manifest.options) == {}
        assert manifest.inference_runners in ((), ("lk_eot_audio",))  # if its native part can be loaded
        assert manifest.lazy_runners
        assert not manifest.own_runners
        (child,) = host.children
        child.send(ch.Shutdown("enough"))
        assert await rest(child) == [ch.ShutdownAck(), ch.ShuttingDown()]
        assert (await ended(child)).exit_code == 0


async def test_commonjs_runs_as_the_main_module(tmp_path: Path) -> None:
    agent = """
        const { ServerOptions, cli, defineAgent } = require('@livekit/agents');
        module.exports = defineAgent({ entry: async () => {} });
        if (require.main === module) {
          cli.runApp(new ServerOptions({ agent: __filename, numIdleProcesses: 3 }));
        }
    """
    async with host_of(tmp_path, "agent.cjs", {"agent.cjs": agent}) as host:
        manifest = await host.manifest()
        assert {name: (each.value, each.where) for name, each in manifest.options.items()} == {
            "numIdleProcesses": (3, "agent.cjs:5")
        }


async def test_an_agent_in_another_file_and_runners_that_plugins_register(tmp_path: Path) -> None:
    main = """
        import { InferenceRunner, ServerOptions, cli } from '@livekit/agents';
        import { fileURLToPath } from 'node:url';
        InferenceRunner.registerRunner('double', new URL('./runner.mjs', import.meta.url).toString());
        cli.runApp(new ServerOptions({ agent: fileURLToPath(new URL('./desk.mjs', import.meta.url)) }));
    """
    desk = """
        import { defineAgent } from '@livekit/agents';
        export default defineAgent({ entry: async () => {}, prewarm: () => console.log('desk') });
    """
    runner = """
        export default class Runner {
          async initialize() {}
          async run(data) { if (!data.x) throw new Error('nothing to double'); return { y: data.x * 2 }; }
          async close() {}
        }
    """
    files = {"main.mjs": main, "desk.mjs": desk, "runner.mjs": runner}
    async with host_of(tmp_path, "main.mjs", files) as host:
        run = host.runtime()
        manifest = await host.manifest(run)
        assert (manifest.inference_runners[:1], manifest.own_runners) == (("double",), True)

        job = await host.launch(run=run, functions=manifest.functions)
        await until(job, ch.Ready)
        await poll(lambda: host.sink.printed() == ["desk"])

        child = await host.launch(ch.ProcessKind.INFERENCE, run, manifest.functions)
        await until(child, ch.Ready)
        child.send(ch.InferenceRequest("r1", "double", b'{"x": 2}'))
        assert await until(child, ch.InferenceResponse) == ch.InferenceResponse("r1", b'{"y": 4}', "")
        child.send(ch.InferenceRequest("r2", "double", b"{}"))
        assert (await until(child, ch.InferenceResponse)).error == "nothing to double"
        child.send(ch.Shutdown("enough"))
        assert ch.ShuttingDown() in await rest(child)
        assert (await ended(child)).exit_code == 0
