"""Which code a process runs: the snapshot of its generation, in ESM, CommonJS, and TypeScript."""

import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from agent_tui.model import child as ch

from ...nodes import needs_node, newest_node, nodes, version_of
from ..support import ended, poll, rest, start_job, until
from .support import host_of

pytestmark = [pytest.mark.real, needs_node]

LAZY = """
import { readFileSync } from 'node:fs';
import { defineAgent } from '@livekit/agents';
import { first } from './first.mjs';
import { device } from './device.mjs';
import data from './data.json' with { type: 'json' };
export default defineAgent({
  entry: async (ctx) => {
    const { second } = await import('./second.mjs');
    const { gone } = await import('./gone.mjs');
    const note = readFileSync(new URL('./note.txt', import.meta.url), 'utf8');
    const later = await import('./later.mjs').catch((error) => error.code);
    const never = await import('./never.mjs').catch((error) => error.code);
    console.log(first, device, second, gone, data.third, note, later, never, import.meta.url);
    ctx.shutdown('x');
  },
});
"""


async def test_imports_that_run_late_still_get_the_old_code(tmp_path: Path) -> None:
    names = ("first", "device", "second", "gone")
    modules = {f"{name}.mjs": f"export const {name} = 1;\n" for name in names}
    files = {"agent.mjs": LAZY, "data.json": '{"third": 1}', "note.txt": "old", **modules}
    async with host_of(tmp_path, "agent.mjs", files) as host:
        code = {str(tmp_path / name): text for name, text in files.items() if name != "note.txt"}
        (tmp_path / "first.mjs").write_text("export const first = 2;\n")
        (tmp_path / "device.mjs").unlink()
        (tmp_path / "device.mjs").symlink_to("/dev/zero")
        child = await host.launch(modules=code, missing=[str(tmp_path / "later")])
        await until(child, ch.Ready)
        (tmp_path / "second.mjs").write_text("not even JavaScript(")
        (tmp_path / "gone.mjs").unlink()
        (tmp_path / "later.mjs").write_text("export const later = 2;\n")
        (tmp_path / "note.txt").write_text("new")
        child.send(start_job())
        await rest(child)
        await ended(child)
        host.sink.join()
        # Code comes from the generation; files that the code reads come from the disk.
        missing = "ERR_MODULE_NOT_FOUND ERR_MODULE_NOT_FOUND"
        assert host.sink.printed() == [f"1 1 1 1 1 new {missing} {host.file.as_uri()}"]


async def test_commonjs_gets_the_snapshot_too(tmp_path: Path) -> None:
    agent = """
        const { defineAgent } = require('@livekit/agents');
        const fs = require('node:fs');
        module.exports = defineAgent({
          entry: async (ctx) => {
            const { second } = require('./second.cjs');
            const { gone } = require('./gone.cjs');
            const { third } = require('./data.json');
            let later;
            try {
              later = require('./later');
            } catch (error) {
              later = error.code;
            }
            console.log(second, gone, third, later, __dirname, fs.readFileSync(`${__dirname}/second.cjs`, 'utf8').trim());
            ctx.shutdown('x');
          },
        });
    """
    files = {"agent.cjs": agent, "second.cjs": "exports.second = 1;\n", "data.json": '{"third": 1}'}
    files |= {"gone.cjs": "exports.gone = 1;\n"}
    async with host_of(tmp_path, "agent.cjs", files) as host:
        code = {str(tmp_path / name): (tmp_path / name).read_text() for name in files}
        child = await host.launch(modules=code, missing=[str(tmp_path / "later")])
        await until(child, ch.Ready)
        (tmp_path / "later").mkdir()
        (tmp_path / "later/index.js").write_text("exports.later = 2;\n")
        (tmp_path / "second.cjs").write_text("exports.second = 2;\n")
        (tmp_path / "data.json").write_text('{"third": 2}')
        (tmp_path / "gone.cjs").unlink()
        (tmp_path / "gone.cjs").symlink_to("/dev/zero")
        child.send(start_job())
        await rest(child)
        await ended(child)
        host.sink.join()
        assert host.sink.printed() == [f"1 1 1 MODULE_NOT_FOUND {tmp_path} exports.second = 2;"]


ESM = "import { defineAgent } from '@livekit/agents';\nexport default"
COMMONJS = "const { defineAgent } = require('@livekit/agents');\nmodule.exports ="

REPLACED: dict[str, Callable[[Path], object]] = {
    "socket": lambda path: os.mknod(path, stat.S_IFSOCK | 0o600),
    "pipe": os.mkfifo,
    "endless": lambda path: path.symlink_to("/dev/zero"),
    "folder": Path.mkdir,
    "loop": lambda path: path.symlink_to(path),
    "nothing": lambda path: None,
}
"""What may be in the place of the agent's file."""


@pytest.mark.parametrize("by", REPLACED)
@pytest.mark.parametrize("suffix", ["mjs", "cjs"])
async def test_the_agents_file_is_served_whatever_replaced_it(tmp_path: Path, suffix: str, by: str) -> None:
    text = f"{ESM if suffix == 'mjs' else COMMONJS} defineAgent({{ entry: async (ctx) => {{}} }});\n"
    files = {f"agent.{suffix}": text}
    async with host_of(tmp_path, f"agent.{suffix}", files, stand_in=True) as host:
        run = host.runtime(modules={str(host.file): text})
        host.file.unlink()
        REPLACED[by](host.file)
        await until(await host.launch(run=run), ch.Ready)
        host.runtime()  # a load that now begins reports it; it does not raise


@pytest.mark.parametrize("suffix", ["mjs", "cjs"])
async def test_only_regular_files_are_read(tmp_path: Path, suffix: str) -> None:
    load = "import './endless.mjs';" if suffix == "mjs" else "require('./endless.cjs');"
    async with host_of(tmp_path, f"agent.{suffix}", {f"agent.{suffix}": load}, stand_in=True) as host:
        (tmp_path / f"endless.{suffix}").symlink_to("/dev/zero")
        child = await host.launch(ch.ProcessKind.CONTROL)
        failed = await until(child, ch.Failed)
        assert "/dev/zero is not a regular file" in failed.error
        await ended(child)


TYPESCRIPT = """
import { type JobContext, defineAgent, getJobContext } from '@livekit/agents';
import { Mood } from './mood.js';
import { far } from '@lib/far.js';

export default defineAgent({
  entry: async (ctx: JobContext) => {
    const late: string = (await import('./late.js')).late;
    const gone: string = (await import('./gone.js')).gone;
    console.log(Mood.Calm, far, late, gone, getJobContext() === ctx);
    ctx.shutdown('x');
  },
});
"""
TYPESCRIPT_FILES = {
    "mood.ts": "export enum Mood { Calm = 'calm' }\n",
    "late.ts": "export const late: string = 'old';\n",
    "gone.ts": "export const gone: string = 'gone';\n",
    "lib/far.ts": "export const far: number = 1;\n",
    "tsconfig.json": '{\n  // paths\n  "compilerOptions": { "paths": { "@lib/*": ["./lib/*"] }, }\n}',
}


@pytest.mark.parametrize("kind", ["module", ""])
async def test_typescript_by_tsx(tmp_path: Path, kind: str) -> None:
    files = {"agent.ts": TYPESCRIPT, **TYPESCRIPT_FILES}
    async with host_of(tmp_path, "agent.ts", files, kind=kind) as host:
        manifest = await host.manifest()
        assert set(manifest.files) == {str(tmp_path / each) for each in ("agent.ts", "mood.ts", "lib/far.ts")}
        code = {str(tmp_path / name): text for name, text in files.items() if name.endswith(".ts")}
        child = await host.launch(modules=code)
        await until(child, ch.Ready)
        (tmp_path / "late.ts").write_text("export const late: string = 'new';\n")
        (tmp_path / "gone.ts").unlink()
        child.send(start_job())
        await rest(child)
        await poll(lambda: host.sink.printed())
        assert host.sink.printed() == ["calm 1 old gone true"], host.sink.lines


@pytest.mark.skipif(not (nodes() and version_of(newest_node()) >= (22, 7)), reason="needs Node 22.7 or later")
@pytest.mark.parametrize("kind", ["module", ""])
async def test_typescript_by_node_itself(tmp_path: Path, kind: str) -> None:
    files = {"agent.ts": TYPESCRIPT.replace("@lib/far.js", "./lib/far.js"), **TYPESCRIPT_FILES}
    async with host_of(tmp_path, "agent.ts", files, kind=kind, without="tsx") as host:
        code = {str(tmp_path / name): text for name, text in files.items() if name.endswith(".ts")}
        child = await host.launch(modules=code)
        await until(child, ch.Ready)
        (tmp_path / "late.ts").write_text("export const late: string = 'new';\n")
        (tmp_path / "gone.ts").unlink()
        child.send(start_job())
        await rest(child)
        await poll(lambda: host.sink.printed())
        assert host.sink.printed() == ["calm 1 old gone true"], host.sink.lines


async def test_a_typescript_error_names_file_and_line(tmp_path: Path) -> None:
    files = {"agent.ts": TYPESCRIPT.replace("@lib/far.js", "./lib/far.js"), **TYPESCRIPT_FILES}
    files["mood.ts"] = "export enum Mood {\n  Calm = = 'calm',\n}\n"
    async with host_of(tmp_path, "agent.ts", files, stand_in=True) as host:
        child = await host.launch(ch.ProcessKind.CONTROL)
        failed = await until(child, ch.Failed)
        assert (failed.file, failed.line) == (str(tmp_path / "mood.ts"), 2)
        assert failed.error.startswith("SyntaxError: ")
        place, source, caret, *_ = failed.traceback.split("\n")
        assert (place, source) == (f"{tmp_path}/mood.ts:2", "  Calm = = 'calm',")
        assert source[caret.index("^")] == "="
        assert "    at " not in failed.traceback, "no frames of esbuild and Node"


async def test_a_workspace_package_is_the_projects(tmp_path: Path) -> None:
    agent = """
        import { defineAgent } from '@livekit/agents';
        import { desk } from '@hotel/desk';
        import { z } from 'zod';
        export default defineAgent({ entry: async () => console.log(desk, typeof z.string) });
    """
    files = {
        "apps/agent/agent.mjs": agent,
        "packages/desk/package.json": '{"name": "@hotel/desk", "type": "module", "exports": "./main.js"}',
        "packages/desk/main.js": "export const desk = 1;\n",
    }
    scope = tmp_path / "apps/agent/node_modules/@hotel"
    scope.mkdir(parents=True)
    (scope / "desk").symlink_to("../../../../packages/desk")
    async with host_of(tmp_path, "apps/agent/agent.mjs", files, stand_in=True) as host:
        manifest = await host.manifest()
        assert set(manifest.files) == {str(host.file), str(tmp_path / "packages/desk/main.js")}
        assert any("/zod/" in each for each in manifest.imports)
