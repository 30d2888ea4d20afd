"""The hosted project. A room's name decides what its job does, and each job prints its version."""

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.nodes import newest_node, project


@dataclass(frozen=True)
class Source:
    """A project in one language."""

    suffix: str
    agent_text: str
    """With @VERSION and @FLAGS, the folder whose files control its behavior."""
    part_text: str
    broken: Mapping[str, str]
    """Text that does not load, in place of the agent's file."""
    odd: Mapping[str, Callable[[bytes], bytes]]
    """Text that may or may not load."""
    limit_mb: int
    """The memory limit of jobs: more than a job normally uses, less than a job with `hog` uses."""
    most_open: int
    """Most concurrent jobs; with more, a busy machine would never catch up."""
    every_s: float
    """Seconds between two dispatches."""
    probe_s: float
    """Seconds to wait for a job that shows which code serves, before another one is dispatched."""
    others: int
    """The most processes, besides the idle ones, that may remain at rest."""

    @property
    def agent(self) -> str:
        return f"agent{self.suffix}"

    @property
    def parts(self) -> tuple[str, str]:
        return f"part_a{self.suffix}", f"part_b{self.suffix}"

    @property
    def late(self) -> str:
        """A module that the agent imports in its jobs if it exists."""
        return f"late{self.suffix}"

    def part(self, version: int) -> str:
        return self.part_text.replace("@VERSION", str(version))

    def prepare(self, folder: Path) -> tuple[str, ...]:
        """Create a folder for the project; return the flags that it needs."""
        if self is not JAVASCRIPT:
            return ()
        project(folder)
        return (f"--node={newest_node()}",)

    def write(self, folder: Path, flags: Path, version: int) -> None:
        """Save the project at a version; the agent's file comes last."""
        for name in self.parts:
            (folder / name).write_text(self.part(version))
        text = self.agent_text.replace("@VERSION", str(version)).replace("@FLAGS", json.dumps(str(flags)))
        (folder / self.agent).write_text(text)


PYTHON = Source(
    suffix=".py",
    agent_text="""
import asyncio, ctypes, os, signal, time
import part_a

VERSION = @VERSION
FLAGS = @FLAGS


def is_set(flag):
    return os.path.exists(os.path.join(FLAGS, flag))


if is_set("slow_load"):
    time.sleep(0.2)


def prewarm(proc):
    if is_set("slow"):
        time.sleep(0.5)
    if is_set("fails"):
        raise OSError("the model server is down")


async def request_func(req):
    if req.room.name.startswith("ask-"):
        await asyncio.sleep(0.6)
    await req.accept()


async def entry(ctx):
    room = ctx.job.room.name
    what = room.split("-")[0]
    print("@", room, "start", VERSION, part_a.VERSION, flush=True)
    if what == "hog":
        hog = bytearray(300_000_000)
        await asyncio.sleep(20)
    if what == "block":
        time.sleep(0.8)
    if what == "raise":
        raise RuntimeError("on purpose")
    if what == "huge":
        raise RuntimeError("x" * 32_000_000)
    if what == "exit":
        os._exit(3)
    if what == "gil":
        ctypes.PyDLL(None).sleep(120)
    if what == "spin":
        while True:
            pass
    if what == "stubborn":
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        time.sleep(120)
    if what == "stop":
        os.kill(os.getpid(), signal.SIGSTOP)
    await asyncio.sleep({"long": 2, "late": 1, "short": 0.3}.get(what, 0.1))
    import part_b
    try:
        import late
        versions = VERSION, part_a.VERSION, part_b.VERSION, late.VERSION
    except ImportError:
        versions = VERSION, part_a.VERSION, part_b.VERSION
    print("@", room, "end", *versions, flush=True)
    ctx.shutdown("done")
    if what == "race":
        await asyncio.sleep(0.4)  # it has ended by itself, and the server does not know yet
""",
    part_text="VERSION = @VERSION\n",
    broken={
        "broken": "def entry(ctx:\n",
        "unready": "def prewarm(proc):\n    raise OSError('no model')\n\nasync def entry(ctx): ...\n",
        "empty": "",
    },
    odd={
        "deep_sum": lambda source: source + b"\nx = " + b"+".join([b"1"] * 3_000),
        "deep_elif": lambda source: source + b"\nif 0: pass\n" + b"elif VERSION == 1: pass\n" * 3_000,
        "deep_attributes": lambda source: source + b"\ndef f(x):\n    return x" + b".y" * 3_000,
        "deep_lambdas": lambda source: source + b"\nx = " + b"lambda: " * 3_000 + b"0",
        "deep_parentheses": lambda source: source + b"\nx = " + b"(" * 500 + b")" * 500,
        "from_and_spaces": lambda source: source + b"\nfrom" + b" " * 20_000,
        "long_line": lambda source: source + b"\nx = '" + b"y" * 4_000_000 + b"'",
        "nul": lambda source: source + b"\nx = '\0'",
        "utf_16": lambda source: source.decode().encode("utf-16"),
        "latin_1": lambda source: b"# -*- coding: latin-1 -*-\n" + source + b"\nx = '\xe9'",
        "unknown_encoding": lambda source: b"# -*- coding: unheard-of -*-\n" + source,
        "invalid_utf_8": lambda source: source + b"\nx = '\xff\xfe'",
    },
    limit_mb=200,
    most_open=10,
    every_s=0.5,
    probe_s=0.5,
    others=4,  # base, template, control process and guard
)

JAVASCRIPT = Source(
    suffix=".mjs",
    agent_text="""
import { existsSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { ServerOptions, cli, defineAgent } from '@livekit/agents';
import { VERSION as PART_A } from './part_a.mjs';

const VERSION = @VERSION;
const FLAGS = @FLAGS;
const isSet = (flag) => existsSync(`${FLAGS}/${flag}`);
const block = (ms) => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);

if (isSet('slow_load')) block(200);

async function requestFunc(req) {
  if (req.room.name.startsWith('ask-')) await sleep(600);
  await req.accept();
}

const DO = {
  hog: async () => {
    const hog = Buffer.alloc(400_000_000, 1);
    await sleep(20_000);
    return hog;
  },
  block: () => block(800),
  raise: () => {
    throw new Error('on purpose');
  },
  huge: () => {
    throw new Error('x'.repeat(32_000_000));
  },
  exit: () => process.exit(3),
  gil: () => block(120_000),
  spin: () => {
    for (;;);
  },
  stubborn: () => {
    for (const signal of ['SIGTERM', 'SIGINT', 'SIGHUP']) process.on(signal, () => {});
    block(120_000);
  },
  stop: () => process.kill(process.pid, 'SIGSTOP'),
};

export default defineAgent({
  prewarm: async () => {
    if (isSet('slow')) await sleep(500);
    if (isSet('fails')) throw new Error('the model server is down');
  },
  entry: async (ctx) => {
    const room = ctx.job.room.name;
    const what = room.split('-')[0];
    console.log('@', room, 'start', VERSION, PART_A);
    await DO[what]?.();
    await sleep({ long: 2000, late: 1000 }[what] ?? 100);
    const part_b = await import('./part_b.mjs');
    const late = await import('./late.mjs').catch((error) => {
      if (error.code !== 'ERR_MODULE_NOT_FOUND') throw error;
    });
    console.log('@', room, 'end', VERSION, PART_A, part_b.VERSION, ...(late ? [late.VERSION] : []));
    ctx.shutdown('done');
    if (what === 'race') await sleep(400); // it has ended by itself, and the server does not know yet
  },
});

cli.runApp(new ServerOptions({ agent: import.meta.filename, requestFunc }));
""",
    part_text="export const VERSION = @VERSION;\n",
    broken={
        "broken": "export default defineAgent({",
        "unready": "import { defineAgent } from '@livekit/agents';\n"
        "export default defineAgent({ prewarm: () => Promise.reject('no model'), entry: async () => {} });\n",
        "empty": "",
    },
    odd={
        "deep_sum": lambda source: source + b"\nconst x = " + b"+".join([b"1"] * 3_000),
        "deep_members": lambda source: source + b"\nconst f = (x) => x" + b".y" * 3_000,
        "deep_arrows": lambda source: source + b"\nconst f = " + b"x => " * 3_000 + b"0",
        "deep_parentheses": lambda source: source + b"\nconst x = " + b"(" * 500 + b")" * 500,
        "import_and_spaces": lambda source: source + b"\nimport" + b" " * 20_000,
        "long_line": lambda source: source + b"\nconst x = '" + b"y" * 4_000_000 + b"'",
        "nul": lambda source: source + b"\nconst x = '\0'",
        "utf_16": lambda source: source.decode().encode("utf-16"),
        "byte_order_mark": lambda source: b"\xef\xbb\xbf" + source,
        "carriage_returns": lambda source: source.replace(b"\n", b"\r\n"),
        "invalid_utf_8": lambda source: source + b"\nconst x = '\xff\xfe'",
    },
    limit_mb=300,
    most_open=4,
    every_s=4.0,
    probe_s=5.0,
    others=5,  # three blanks, control process and guard
)

SOURCE = {"python": PYTHON, "js": JAVASCRIPT}[os.environ.get("AGENT_TUI_CHAOS_AGENT", "python")]
