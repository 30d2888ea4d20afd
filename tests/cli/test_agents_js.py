"""agents-js files under the command, as users run them."""

import asyncio
from pathlib import Path

import pytest
from livekit import api
from livekit.protocol.agent import JobStatus

from tests.cli.support import AGENTS, EXAMPLES, agent_tui, finished, save
from tests.cli.test_roll_back import driven
from tests.cli.test_servers import free_port, real_server
from tests.nodes import CACHE, in_turn, label, needs_node, newest_node, nodes, project, sdks
from tests.runtimes.node.support import write

pytestmark = [pytest.mark.real, needs_node, pytest.mark.timeout(180)]

HEADLESS = ("--local", "--headless", "--json", "--port", 0, "--exit-when-idle")
COLD = ("--num-idle-processes", 0)
"""No warm process: each costs more than a second of CPU, so only runs about them have any."""
TEST_JOBS = (*HEADLESS, *COLD, "--dispatch")
BODY = "entry: async (ctx) => { await ctx.connect(); ctx.shutdown('said'); }"
ESM = f"import {{ defineAgent }} from '@livekit/agents';\nexport default defineAgent({{ {BODY} }});\n"
TS = """
import { type JobContext, ServerOptions, cli, defineAgent } from '@livekit/agents';
import { fileURLToPath } from 'node:url';
import { Mood } from './mood.js';
export default defineAgent({
  entry: async (ctx: JobContext): Promise<void> => { await ctx.connect(); ctx.shutdown(Mood.Calm); },
});
cli.runApp(new ServerOptions({ agent: fileURLToPath(import.meta.url), numIdleProcesses: 2 }));
"""
SHIPPED = ("agent.mjs", "agent.ts")
FILES = {
    **{name: {name: (EXAMPLES / name).read_text()} for name in SHIPPED},
    "agent.js": {
        "agent.js": "import { ServerOptions, cli, defineAgent } from '@livekit/agents';\n"
        "import { said } from '@the/shared';\n"
        f"export default defineAgent({{ {BODY} }});\n"
        "cli.runApp(new ServerOptions({ agent: import.meta.dirname + '/agent.js' }));\n",
        "packages/shared/package.json": '{"name": "@the/shared", "type": "module", "exports": "./index.js"}',
        "packages/shared/index.js": "export const said = () => 'said';\n",
    },
    "agent.cjs": {
        "agent.cjs": "const { ServerOptions, cli, defineAgent } = require('@livekit/agents');\n"
        f"module.exports = defineAgent({{ {BODY} }});\n"
        "if (require.main === module) cli.runApp(new ServerOptions({ agent: __filename }));\n"
    },
    "agent.mts": {"agent.mts": TS.replace("mood.js", "mood.mjs"), "mood.mts": "export enum Mood { Calm = 'said' }\n"},
    "agent.cts": {
        "agent.cts": TS.replace("import { fileURLToPath } from 'node:url';", "")
        .replace("fileURLToPath(import.meta.url)", "__filename")
        .replace("mood.js", "mood.cjs"),
        "mood.cts": "export enum Mood { Calm = 'said' }\n",
    },
}  # fmt: skip


WORKSPACE = "packages/shared"
"""Packages of a workspace are links in node_modules."""

each_sdk = pytest.mark.parametrize("sdk", sdks(), ids=lambda path: path.name)


def written(folder: Path, name: str, sdk: Path | None = None) -> Path:
    """Write one of FILES into a project. Return the agent file."""
    write(project(folder, sdk=sdk), FILES[name])
    if (folder / WORKSPACE).exists():
        scope = folder / "node_modules/@the"
        scope.mkdir()
        (scope / "shared").symlink_to(folder / WORKSPACE)
    return folder / name


def with_node(*arguments: object) -> tuple[object, ...]:
    return (*arguments, "--node", newest_node())


@pytest.mark.parametrize(
    ("name", "node"),
    in_turn(FILES, nodes()),
    ids=lambda each: label(each) if isinstance(each, Path) else each,
)
@each_sdk
async def test_every_kind_of_file_runs(tmp_path: Path, name: str, node: Path, sdk: Path) -> None:
    """Two of them are the examples; one runs as users run it, with the warm process that its code asks for."""
    flags = HEADLESS if name == "agent.ts" else (*HEADLESS, *COLD)
    file = written(tmp_path, name, sdk)
    code, run = await finished(file, *flags, "--dispatch", 1, "--node", node, environ=CACHE)
    assert code == 0, (run.events, run.stderr)
    ready = run.all("generation_ready")[0]
    assert (ready["runtime"], ready["start_method"]) == ("agents-js", "blank")
    says = "call finished" if name in SHIPPED else "said"
    assert [(each["status"], each["reason"]) for each in run.all("job_ended")] == [("success", says)]
    assert [each["warm"] for each in run.all("job_started")] == [name == "agent.ts"]
    assert len(run.all("job_connected")) == 1
    greetings = [each for each in run.all("log") if each["text"].startswith("Hello, ")]
    assert len(greetings) == (name in SHIPPED)


async def test_a_process_that_a_job_has_started_does_not_keep_the_job_open(tmp_path: Path) -> None:
    """Node lets its children inherit descriptors above a gap: with them the job's channel."""
    spawns = "spawn('sleep', ['600']); await ctx.connect();"
    agent = "import { spawn } from 'node:child_process';\n" + ESM.replace("await ctx.connect();", spawns)
    write(project(tmp_path), {"agent.mjs": agent})
    code, run = await finished(tmp_path / "agent.mjs", *with_node(*TEST_JOBS, 1), environ=CACHE)
    assert code == 0, run.stderr
    assert [(each["status"], each["reason"]) for each in run.all("job_ended")] == [("success", "said")]


@each_sdk
async def test_a_rejection_that_nothing_handles_is_a_warning_with_its_place(
    tmp_path: Path, sdk: Path
) -> None:
    rejects = "\n  Promise.reject(new Error('lost')); await ctx.connect();"
    write(project(tmp_path, sdk=sdk), {"agent.mjs": ESM.replace("await ctx.connect();", rejects)})
    code, run = await finished(tmp_path / "agent.mjs", *with_node(*TEST_JOBS, 1), environ=CACHE)
    assert code == 0, run.stderr
    said = [(each["level"], each["text"]) for each in run.all("log") if "unhandled" in each["text"]]
    assert said == [("warn", "unhandled promise rejection: Error: lost (agent.mjs:3)")]


@each_sdk
async def test_functions_of_the_file_decide_on_offers_and_an_entry_that_throws_fails(
    tmp_path: Path, sdk: Path
) -> None:
    agent = """
import { ServerOptions, cli, defineAgent } from '@livekit/agents';
let asked = 0;
export default defineAgent({
  entry: async (ctx) => {
    const { identity } = ctx.info.acceptArguments;
    if (identity === 'second') throw new TypeError('no such table');
    ctx.shutdown(identity);
  },
});
cli.runApp(new ServerOptions({
  agent: import.meta.filename,
  requestFunc: async (req) => {
    const identity = [`first-${req.id.slice(0, 2)}`, 'second'][asked++];
    return identity ? req.accept('Ann', identity) : req.reject();
  },
  loadFunc: async () => 0.25,
}));
"""
    write(project(tmp_path, sdk=sdk), {"agent.mjs": agent})
    code, run = await finished(tmp_path / "agent.mjs", *with_node(*TEST_JOBS, 3), environ=CACHE)
    assert code == 1  # one failed although the SDK's process exits with 0, and one was rejected, and so lost
    ended = {each["reason"]: each for each in run.all("job_ended")}
    assert {reason: each["status"] for reason, each in ended.items()} == {
        "first-AJ": "success",
        "TypeError: no such table": "failed",
    }
    assert f"{tmp_path}/agent.mjs:7:" in ended["TypeError: no such table"]["traceback"]
    assert len(run.all("job_lost")) == 1


RELOADED = """import { defineAgent } from '@livekit/agents';
import { mood } from './mood.mjs';
export default defineAgent({
  entry: async (ctx) => {
    const { word } = await import('./word.mjs');
    console.log('entered on', word, mood);
    ctx.addShutdownCallback(async () => console.log('goodbye from', word));
  },
});
"""


async def test_good_and_broken_saves_restarted_jobs_and_a_roll_back_to_deleted_code(tmp_path: Path) -> None:
    files = {name: tmp_path / f"{name}.mjs" for name in ("agent", "word", "mood")}
    sources = (RELOADED, "export const word = 'one';\n", "export const mood = 'calm';\n")
    write(project(tmp_path), {f"{name}.mjs": text for name, text in zip(files, sources, strict=True)})
    # Without a stock of blanks, each of which costs more than a second of CPU; test_swap_js.py has one.
    flags = ("--on-reload", "restart", "--start-method", "spawn", "--node", str(newest_node()))
    async with driven(files["agent"], *flags, environ=CACHE) as d:
        before = await d.session.job("stay")
        await d.session.printed("entered on one calm")

        save(files["mood"], "export const mood = ;\n")
        failed = await d.run.until("generation_failed", generation=2)
        assert failed["error"] == "SyntaxError: Unexpected token ';'"
        assert (failed["file"], failed["line"]) == (str(files["mood"]), 1)
        save(tmp_path / "unrelated.mjs", "export const nothing = 1;\n")
        await asyncio.sleep(0.3)

        files["word"].unlink()
        late, gone = "const { word } = await import('./word.mjs');", "const { word } = { word: 'two' };"
        save(
            files["agent"],
            RELOADED.replace(late, gone).replace("import { mood } from './mood.mjs'", "const mood = 'new'"),
        )
        ready = await d.session.ready(3)
        assert ready["changed"] == [str(files["agent"]), str(files["word"])]
        await d.session.printed("entered on two new")
        await d.session.printed("goodbye from one")
        after = await d.run.until("job_started", restarts=1)
        assert (after["job_id"], after["generation"]) == (before["job_id"], 3)
        diff = await d.command(diff=[3])
        assert f"-    {late}\n+    {gone}" in diff
        assert "-export const word = 'one';" in diff

        said = await d.command(roll_back=1)
        assert said.startswith("command done: rolled back to generation 1 (now generation 4)")
        await d.session.printed("entered on one calm", 2)
        assert not d.run.all("job_ended")
        await d.run.until("process", kind="job", state="idle", generation=4)
        idle = [each for each in d.run.all("process") if each["kind"] == "job" and each["state"] == "idle"]
        assert {each["generation"] for each in idle} == {1, 3, 4}


@pytest.mark.parametrize(
    ("name", "files", "says"),
    [
        (
            "agent.mjs",
            {},
            "needs @livekit/agents, which is not installed: run npm install @livekit/agents in",
        ),
        (
            "agent.mjs",
            {"node_modules/@livekit/agents/package.json": '{"version": "1.4.11"}'},
            "is too old, 1.5 or later is needed: run npm install @livekit/agents@latest in",
        ),
    ],
)
async def test_a_failed_start_says_what_to_do(
    tmp_path: Path, name: str, files: dict[str, str], says: str
) -> None:
    write(tmp_path, {name: ESM, "package.json": "{}", **files})
    code, run = await finished(tmp_path / name, *with_node("--local", "--headless"))
    assert code == 2
    assert says in run.stderr
    assert len(run.stderr.splitlines()) == 1


def say(*turns: str) -> tuple[object, ...]:
    said = [each for turn in turns for each in ("--say", turn)]
    return with_node(*HEADLESS, *COLD, "--no-watch", *said)


@each_sdk
async def test_a_conversation_with_the_talking_example(tmp_path: Path, sdk: Path) -> None:
    write(project(tmp_path, sdk=sdk), {"agent.ts": (EXAMPLES / "talk_agent.ts").read_text()})
    code, run = await finished(
        tmp_path / "agent.ts", *say("hello", "any room on Friday?", "thank you"), environ=CACHE
    )
    assert code == 0, (run.events, run.stderr)
    (started,) = run.all("session_started")
    assert (started["session"], started["agent"], started["text_only"]) == (1, "receptionist", True)
    replies = [
        (each["turn"], each["text"].strip()) for each in run.all("message") if each["role"] == "assistant"
    ]
    assert replies == [
        (0, "Good evening, this is the front desk. How can I help you?"),
        (1, "You said: hello Ask me for a room on Friday or Saturday."),
        (2, "These rooms are free: garden view, 90 €; attic, 75 €."),
        (3, "You said: thank you Ask me for a room on Friday or Saturday."),
    ]
    (tool,) = run.all("tool_call")
    assert (tool["turn"], tool["name"], tool["arguments"]) == (2, "findRooms", '{"day":"friday"}')
    assert (tool["output"], tool["is_error"]) == ('["garden view, 90 €","attic, 75 €"]', False)
    turns = run.all("turn_ended")
    assert [(each["turn"], each["error"]) for each in turns] == [(1, None), (2, None), (3, None)]
    assert all(0 < each["first_delta_ms"] < each["duration_ms"] for each in turns)
    for number, text in replies[1:]:
        deltas = [each["text"] for each in run.all("message_delta") if each["turn"] == number]
        assert len(deltas) > 1
        assert "".join(deltas).strip() == text
    usage = run.all("usage")[-1]
    assert usage["input_tokens"] > usage["output_tokens"] > 0
    (ended,) = run.all("job_ended")
    assert (ended["reason"], ended["exit_code"]) == ("all turns sent", 0)


@each_sdk
async def test_four_calls_at_once_with_turns_that_fail_or_hang(tmp_path: Path, sdk: Path) -> None:
    """Each call gets the first turn; a turn that fails or hangs does not stop the next one of its call."""
    write(project(tmp_path, sdk=sdk), {"agent.mjs": (AGENTS / "js_talks.mjs").read_text()})
    turns = say("one", "@2 raise", "@2 hang", "@2 billing")
    flags = ("--dispatch", 4, "--turn-timeout", "1s")
    code, run = await finished(tmp_path / "agent.mjs", *turns, *flags, environ=CACHE)
    assert code == 1
    numbers = {each["job_id"]: each["test_dispatch"] for each in run.all("job_started")}
    assert sorted(numbers.values()) == [1, 2, 3, 4]
    answers: dict[int, list[str]] = {number: [] for number in numbers.values()}
    errors: dict[int, list[str | None]] = {number: [] for number in numbers.values()}
    for each in run.all("message"):
        if each["role"] == "assistant" and each["text"] != "Hello!":  # it may come late
            answers[numbers[each["job_id"]]].append(each["text"])
    for each in run.all("turn_ended"):
        errors[numbers[each["job_id"]]].append(each["error"])
    first = {number: ["reply 1 to one"] for number in (1, 3, 4)}
    assert answers == {**first, 2: ["reply 1 to one", "It is with billing."]}
    hangs = [None, "no such model (Error)", "no answer within 1 s", None]
    assert errors == {**{number: [None] for number in first}, 2: hangs}
    assert [each["error"] for each in run.all("session_error")] == ["no such model (Error)"]


STAYS = """
import { defineAgent } from '@livekit/agents';
export default defineAgent({
  entry: async (ctx) => {
    await ctx.connect();
    console.log('joined as', ctx.room.localParticipant.identity);
    if (ctx.job.metadata === 'fail') throw new Error('on purpose');
  },
});
"""


@pytest.mark.filterwarnings("ignore::jwt.InsecureKeyLengthWarning")
async def test_jobs_on_a_real_server(tmp_path: Path) -> None:
    """One job ends with its room, one with its dispatch, and one fails."""
    environ = real_server()
    write(project(tmp_path), {"agent.mjs": STAYS})
    name = f"agent-{free_port()}"
    client = api.LiveKitAPI(environ["LIVEKIT_URL"], environ["LIVEKIT_API_KEY"], environ["LIVEKIT_API_SECRET"])
    flags = ("--headless", "--json", "--port", 0, "--agent-name", name)
    async with (
        client,
        agent_tui(tmp_path / "agent.mjs", *with_node(*flags), environ={**environ, **CACHE}) as run,
    ):
        await run.until("registered", agent_name=name)

        async def dispatch(room: str, metadata: str = "") -> str:
            request = api.CreateAgentDispatchRequest(agent_name=name, room=room, metadata=metadata)
            dispatch = await client.agent_dispatch.create_dispatch(request)
            await run.until("job_connected", room=room)
            return dispatch.id

        async def status(room: str, dispatch_id: str) -> int:
            found = await client.agent_dispatch.get_dispatch(dispatch_id, room)
            assert found is not None
            return found.state.jobs[0].state.status

        rooms = [f"{name}-{number}" for number in range(3)]
        await dispatch(rooms[0])
        [agent] = (
            await client.room.list_participants(api.ListParticipantsRequest(room=rooms[0]))
        ).participants
        await run.until("log", text=f"joined as {agent.identity}")
        assert agent.kind == api.ParticipantInfo.Kind.AGENT
        await client.room.delete_room(api.DeleteRoomRequest(room=rooms[0]))
        await run.until("job_ended", room=rooms[0], status="success", reason="room disconnected")
        second = await dispatch(rooms[1])
        assert await status(rooms[1], second) == JobStatus.JS_RUNNING
        await client.agent_dispatch.delete_dispatch(second, rooms[1])
        await run.until("job_ended", room=rooms[1], status="terminated")
        await dispatch(rooms[2], "fail")
        await run.until("job_ended", room=rooms[2], status="failed", reason="Error: on purpose")
