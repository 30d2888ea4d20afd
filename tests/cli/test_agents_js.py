"""agents-js files under the command, as users run them."""

import asyncio
import os
from pathlib import Path

import pytest
from livekit import api
from livekit.protocol.agent import JobStatus

from tests.cli.support import AGENTS, EXAMPLES, Run, agent_tui, finished, save
from tests.cli.test_roll_back import driven
from tests.cli.test_servers import free_port, real_server
from tests.nodes import in_turn, label, needs_node, newest_node, nodes, project, sdks
from tests.runtimes.node.support import write

pytestmark = [pytest.mark.real, needs_node, pytest.mark.timeout(180)]

HEADLESS = ("--local", "--headless", "--json", "--port", 0, "--exit-when-idle")
COLD = ("--num-idle-processes", 0)
"""No warm process, each of which costs two seconds of CPU: for runs that are not about them."""
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
FILES = {
    "agent.mjs": {"agent.mjs": ESM},
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
    "agent.ts": {"agent.ts": TS, "mood.ts": "export enum Mood { Calm = 'said' }\n"},
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
    # One kind of file runs as users run it, with the warm processes that its code asks for.
    flags, jobs = (HEADLESS, 2) if name == "agent.ts" else ((*HEADLESS, *COLD), 1)
    code, run = await finished(written(tmp_path, name, sdk), *flags, "--dispatch", jobs, "--node", node)
    assert code == 0, (run.events, run.stderr)
    ready = run.all("generation_ready")[0]
    assert (ready["runtime"], ready["start_method"]) == ("agents-js", "blank")
    assert [(each["status"], each["reason"]) for each in run.all("job_ended")] == [("success", "said")] * jobs
    assert any(each["warm"] for each in run.all("job_started")) == (name == "agent.ts")
    assert len(run.all("job_connected")) == jobs


@each_sdk
async def test_an_entry_that_throws_fails_although_the_sdk_exits_with_0(tmp_path: Path, sdk: Path) -> None:
    agent = ESM.replace("await ctx.connect();", "\nthrow new TypeError('no such table');")
    write(project(tmp_path, sdk=sdk), {"agent.mjs": agent})
    code, run = await finished(tmp_path / "agent.mjs", *with_node(*TEST_JOBS, 1))
    assert code == 1
    (ended,) = run.all("job_ended")
    assert (ended["status"], ended["reason"]) == ("failed", "TypeError: no such table")
    assert f"{tmp_path}/agent.mjs:3:" in ended["traceback"]


async def entered(run: Run, generation: int) -> None:
    await run.until("job_started", generation=generation)


async def test_good_and_broken_saves(tmp_path: Path) -> None:
    write(project(tmp_path), {"agent.mjs": "import { word } from './word.mjs';\n" + ESM, "word.mjs": "export const word = 1;\n"})  # fmt: skip
    async with agent_tui(
        tmp_path / "agent.mjs", *with_node("--local", "--headless", "--json", "--port", 0)
    ) as run:
        await run.until("process", kind="job", state="idle")
        save(tmp_path / "word.mjs", "export const word = 2;\n")
        ready = await run.until("generation_ready", generation=2)
        assert ready["changed"] == [str(tmp_path / "word.mjs")]
        save(tmp_path / ".word", "export const word = ;\n")
        os.replace(tmp_path / ".word", tmp_path / "word.mjs")
        failed = await run.until("generation_failed", generation=3)
        assert failed["error"] == "SyntaxError: Unexpected token ';'"
        assert (failed["file"], failed["line"]) == (str(tmp_path / "word.mjs"), 1)
        save(tmp_path / "unrelated.mjs", "export const nothing = 1;\n")
        await asyncio.sleep(0.3)
        save(tmp_path / "word.mjs", "export const word = 3;\n")
        await run.until("generation_ready", generation=4)
        idle = [each for each in run.all("process") if each["kind"] == "job" and each["state"] == "idle"]
        assert {each["generation"] for each in idle} == {1, 2, 4}


async def test_a_reload_restarts_jobs_and_a_roll_back_runs_deleted_code(tmp_path: Path) -> None:
    agent = """import { type JobContext, defineAgent } from '@livekit/agents';
export default defineAgent({
  entry: async (ctx: JobContext): Promise<void> => {
    const { word } = await import('./word.js');
    console.log('entered on', word);
    ctx.addShutdownCallback(async () => console.log('goodbye from', word));
    await new Promise((done) => setTimeout(done, 1e6));
  },
});
"""
    write(project(tmp_path), {"agent.ts": agent, "word.ts": "export const word: string = 'one';\n"})
    async with driven(tmp_path / "agent.ts", "--on-reload", "restart", "--node", str(newest_node())) as d:
        before = await d.session.job("stay")
        await d.session.printed("entered on one")
        (tmp_path / "word.ts").unlink()
        save(tmp_path / "agent.ts", agent.replace("await import('./word.js')", "{ word: 'two' }"))
        await d.session.printed("entered on two")
        await d.session.printed("goodbye from one")
        after = await d.run.until("job_started", restarts=1)
        assert (after["job_id"], after["generation"]) == (before["job_id"], 2)
        diff = await d.command(diff=[2])
        assert (
            "-    const { word } = await import('./word.js');\n+    const { word } = { word: 'two' };" in diff
        )
        assert "-export const word: string = 'one';" in diff
        said = await d.command(roll_back=1)
        assert said.startswith("command done: rolled back to generation 1 (now generation 3)")
        await d.session.printed("entered on one", 2)
        assert not d.run.all("job_ended")


async def test_functions_of_the_file_decide_on_offers(tmp_path: Path) -> None:
    agent = """
        import { ServerOptions, cli, defineAgent } from '@livekit/agents';
        let asked = 0;
        export default defineAgent({ entry: async (ctx) => ctx.shutdown(ctx.info.acceptArguments.identity) });
        cli.runApp(new ServerOptions({
          agent: import.meta.filename,
          requestFunc: async (req) => (asked++ ? req.reject() : req.accept('Ann', `first-${req.id.slice(0, 2)}`)),
          loadFunc: async () => 0.25,
        }));
    """
    write(project(tmp_path), {"agent.mjs": agent})
    code, run = await finished(tmp_path / "agent.mjs", *with_node(*TEST_JOBS, 2))
    assert code == 1  # the second one was rejected, and so lost
    assert [each["reason"] for each in run.all("job_ended")] == ["first-AJ"]
    assert len(run.all("job_lost")) == 1


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


@pytest.mark.parametrize("name", ["agent.mjs", "agent.ts"])
async def test_the_examples(tmp_path: Path, name: str) -> None:
    write(project(tmp_path), {name: (EXAMPLES / name).read_text()})
    code, run = await finished(tmp_path / name, *with_node(*TEST_JOBS, 2))
    assert code == 0, (run.events, run.stderr)
    texts = [each["text"] for each in run.all("log")]
    assert sum(text.startswith("Hello, ") for text in texts) == 2


def say(*turns: str) -> tuple[object, ...]:
    said = [each for turn in turns for each in ("--say", turn)]
    return with_node(*HEADLESS, *COLD, *said)


@each_sdk
async def test_a_conversation_with_the_talking_example(tmp_path: Path, sdk: Path) -> None:
    write(project(tmp_path, sdk=sdk), {"agent.ts": (EXAMPLES / "talk_agent.ts").read_text()})
    code, run = await finished(tmp_path / "agent.ts", *say("hello", "any room on Friday?", "thank you"))
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


async def test_four_calls_at_once_with_a_turn_each(tmp_path: Path) -> None:
    write(project(tmp_path), {"agent.mjs": (AGENTS / "js_talks.mjs").read_text()})
    code, run = await finished(tmp_path / "agent.mjs", *say("one", "@2 billing"), "--dispatch", 4)
    assert code == 0, (run.events, run.stderr)
    answers: dict[int, list[str]] = {}
    numbers = {each["job_id"]: each["test_dispatch"] for each in run.all("job_started")}
    for each in run.all("message"):
        if each["role"] == "assistant" and each["text"] != "Hello!":  # it may come late
            answers.setdefault(numbers[each["job_id"]], []).append(each["text"])
    assert {number: len(texts) for number, texts in answers.items()} == {1: 1, 2: 2, 3: 1, 4: 1}
    assert answers[2][-1] == "It is with billing."
    assert [each["error"] for each in run.all("turn_ended")] == [None] * 5


@each_sdk
async def test_turns_that_fail_or_hang_do_not_stop_the_next_one(tmp_path: Path, sdk: Path) -> None:
    write(project(tmp_path, sdk=sdk), {"agent.mjs": (AGENTS / "js_talks.mjs").read_text()})
    turns = say("raise", "hang", "billing")
    code, run = await finished(tmp_path / "agent.mjs", *turns, "--turn-timeout", "1s")
    assert code == 1
    assert [each["error"] for each in run.all("session_error")] == ["scripted.LLM: no such model"]
    errors = [each["error"] for each in run.all("turn_ended")]
    assert errors == ["agent produced no response items", "no answer within 1 s", None]
    assert [each["text"] for each in run.all("message")][-1] == "It is with billing."


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
    async with client, agent_tui(tmp_path / "agent.mjs", *with_node(*flags), environ=environ) as run:
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
