"""The tap of agents-js jobs: sessions as the host sees them, with real children and the SDK's session protocol."""

import asyncio
import itertools
import json
import subprocess
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

import agent_tui.child
from agent_tui.model import child as ch
from agent_tui.model.child import Child

from ...limits import PATIENCE_S
from ...nodes import in_turn, label, needs_node, newest_node, nodes
from ..support import AGENTS, ended, start_job, until
from .support import host_of

pytestmark = [pytest.mark.real, needs_node]

TALKS = (AGENTS / "js_talks.mjs").read_text()
IMPORT = "import { defineAgent, llm, tts, voice } from '@livekit/agents';"
FILES = {
    "talks.mjs": TALKS,
    "talks.cjs": TALKS.replace(IMPORT, IMPORT.replace("import", "const").replace("from '@livekit/agents'", "= require('@livekit/agents')"))
    .replace("export default", "module.exports ="),
    "talks.ts": TALKS.replace("say(text)", "say(text: string)"),
}  # fmt: skip


class Talk:
    """Asks the sessions of a child, and keeps all messages about them."""

    def __init__(self, child: Child) -> None:
        self._child = child
        self._ids = itertools.count(1)
        self.messages: list[ch.SessionMessage] = []

    async def next(self) -> ch.SessionMessage:
        kinds = (ch.SessionStarted, ch.SessionData, ch.SessionDelta, ch.SessionClosed)
        message = await until(self._child, *kinds)
        assert isinstance(message, kinds)
        self.messages.append(message)
        return message

    async def ask(self, request: str, session: int = 1, **value: object) -> Mapping[str, Any]:
        """Return the response to a request."""
        return await self.response(self.send(request, session, **value))

    async def response(self, request_id: str) -> Mapping[str, Any]:
        while True:
            message = await self.next()
            if isinstance(message, ch.SessionData):
                response: Mapping[str, Any] = message.data.get("response", {})
                if response.get("request_id") == request_id:
                    return response

    def send(self, request: str, session: int = 1, **value: object) -> str:
        request_id = f"r{next(self._ids)}"
        self._child.send(ch.SessionRequest(session, {"request": {"request_id": request_id, request: value}}))
        return request_id

    async def state(self, name: str, session: int = 1) -> None:
        """Wait until the agent's state changes to that."""
        while True:
            await self.next()
            if [each["new_state"] for each in self.events("agent_state_changed", session)][-1:] == [name]:
                return

    def events(self, name: str, session: int = 1) -> list[dict[str, Any]]:
        return [
            each.data["event"][name]
            for each in self.messages
            if isinstance(each, ch.SessionData)
            and each.session == session
            and name in each.data.get("event", {})
        ]

    def added(self, kind: str, session: int = 1) -> list[dict[str, Any]]:
        items = (each["item"] for each in self.events("conversation_item_added", session))
        return [each[kind] for each in items if kind in each]

    def said(self, session: int = 1) -> list[str]:
        """The assistant's messages."""
        messages = self.added("message", session)
        return [each["content"][0]["text"] for each in messages if each["role"] == "ASSISTANT"]

    def deltas(self, session: int = 1) -> str:
        return "".join(
            each.text
            for each in self.messages
            if isinstance(each, ch.SessionDelta) and each.session == session
        )


def items(response: Mapping[str, Any]) -> list[str]:
    return [kind for each in response["run_input"]["items"] for kind in each]


@pytest.mark.parametrize(
    ("name", "node"),
    in_turn(FILES, nodes()),
    ids=lambda each: label(each) if isinstance(each, Path) else each,
)
async def test_a_conversation(tmp_path: Path, name: str, node: Path) -> None:
    """Two sessions in one job, the second without a room. Only the .mjs agent has no TTS."""
    environ = {"TALK_SESSIONS": "2", **({} if name == "talks.mjs" else {"TALK_TTS": "1"})}
    async with host_of(tmp_path, name, {name: FILES[name]}, node=node) as host:
        child = await host.launch(environ=environ)
        await until(child, ch.Ready)
        child.send(start_job(sessions=True, text_only=True))
        talk = Talk(child)
        async with asyncio.timeout(PATIENCE_S):
            assert await talk.next() == ch.SessionStarted(1, "talker", text_only=True)
            await talk.state("AS_SPEAKING")
            assert not any(each["new_state"] == "AS_LISTENING" for each in talk.events("agent_state_changed"))
            await talk.state("AS_LISTENING")
            assert talk.said() == ["Hello!"]  # the greeting comes before the agent listens

            first = await talk.ask("run_input", text="one")
            assert (items(first), talk.said()[1:]) == (["message"], ["reply 1 to one"])
            second = await talk.ask("run_input", text="the weather")
            assert items(second) == ["function_call", "function_call_output", "message"]
            (tools,) = talk.events("function_tools_executed")
            (call,), (output,) = tools["function_calls"], tools["function_call_outputs"]
            assert (call["name"], call["arguments"]) == ("weather", "{}")
            assert output["output"] == "sunny"  # and not '"sunny"'
            assert output["call_id"] == call["call_id"]
            await talk.ask("run_input", text="billing")
            assert talk.said()[2:] == ["It is sunny.", "It is with billing."]
            assert talk.deltas() == "".join(talk.said())
            handoff = talk.added("agent_handoff")[-1]
            assert (handoff["old_agent_id"], handoff["new_agent_id"]) == ("talker", "billing")
            created = talk.added("message")[-1]["created_at"]
            assert datetime.fromisoformat(created.replace("Z", "+00:00")).year > 2020
            (llm,) = (
                each["llm"] for each in talk.events("session_usage_updated")[-1]["usage"]["model_usage"]
            )
            assert llm["input_tokens"] > llm["output_tokens"] > 0

            info = (await talk.ask("get_agent_info"))["get_agent_info"]
            assert (info["id"], info["instructions"]) == ("billing", "billing")
            hanging = talk.send("run_input", text="hang")
            await talk.state("AS_THINKING")
            child.send(ch.InterruptSession(1))
            assert (await talk.response(hanging))["error"] == "agent produced no response items"
            failed = await talk.ask("run_input", text="raise")
            assert failed["error"]
            (error,) = talk.events("error")
            cause = {"type": "Error", "text": "no such model", "host": "", "status": 0}
            assert error == {
                "component": "llm",
                "label": "scripted.LLM",
                "retrying": False,
                "causes": [cause],
            }

            assert ch.SessionStarted(2, "talker", text_only=True) in talk.messages
            refused = await talk.ask("run_input", 2, text="\ud83d")
            assert "invalid UTF8" in refused["error"]
            fails = await talk.ask("run_input", 2, text="this fails")
            assert items(fails) == ["function_call", "function_call_output", "message"]
            ((output,),) = (
                each["function_call_outputs"] for each in talk.events("function_tools_executed", 2)
            )
            assert (output["output"], output["is_error"]) == ("no weather", True)
            assert "error" not in output  # the LLM gets its text
            await talk.ask("run_input", 2, text="this breaks")
            (output,) = talk.events("function_tools_executed", 2)[-1]["function_call_outputs"]
            assert (output["is_error"], output["error"]) == (True, "no such table")
            assert "no such table" not in output["output"]
            await talk.ask("run_input", 2, text="odd")
            assert talk.said(2)[-1] == talk.deltas(2)[-len(talk.said(2)[-1]) :] == "half \ufffd of a face"
            await talk.ask("run_input", 2, text="long")
            assert talk.said(2)[-1] == "x" * 2**20
            assert len(talk.said()) == 4

            child.send(ch.Shutdown("enough"))
            while not isinstance(closed := await talk.next(), ch.SessionClosed):
                pass
            assert (closed.session, closed.error) == (1, "")
            assert closed.reason
        assert (await ended(child)).exit_code == 0


async def test_a_job_whose_sessions_are_not_followed(tmp_path: Path) -> None:
    agent = TALKS.replace("await session.start(", "session.on('close', () => console.log(Boolean(session._textOnly)));\nawait session.start(")  # fmt: skip
    async with host_of(tmp_path, "talks.mjs", {"talks.mjs": agent}) as host:
        child = await host.launch()
        await until(child, ch.Ready)
        child.send(start_job())
        await until(child, ch.JobConnected)
        child.send(ch.SessionRequest(1, {"request": {"request_id": "r", "run_input": {"text": "one"}}}))
        child.send(ch.InterruptSession(1))
        child.send(ch.Shutdown("enough"))
        received = []
        while (message := await child.receive()) is not None:
            received.append(message)
        assert not [each for each in received if isinstance(each, ch.SessionMessage)]
        assert (await ended(child)).exit_code == 0
        host.sink.join()
        assert host.sink.printed()[-1:] == ["false"]


CASES = """
const { EventEmitter } = require('node:events');
const { Tap } = require(process.argv[1]);
const sent = [];
function tapOn(voice) {
  const child = {
    sdk: { voice, log: () => ({ warn: (text) => sent.push(['warn', text]) }) },
    send: (name, value) => sent.push([name, value]),
    offer: (name, value) => sent.push([name, value]),
  };
  const tap = new Tap(child);
  tap.patch();
  tap.receive({ case: 'follow_sessions', value: { text_only: true } });
  return tap;
}
class SessionTransport {}
class Message {
  toJson() {
    return { event: {} };
  }
  static fromJson(data) {
    return data;
  }
}
class SessionHost {
  constructor(transport) {
    this.transport = transport;
  }
  registerSession(session) {
    session.host = this;
  }
  async start() {}
  async close() {
    await this.transport.close();
  }
}
const sessions = () =>
  class AgentSession extends EventEmitter {
    output = {};
    get currentAgent() {
      if (this.options.hides) throw new RangeError('no agent');
      return undefined;
    }
    async start(options) {
      if (options.fails) throw new TypeError('no room');
      this.options = options;
      if (options.message) await this.host.transport.sendMessage(options.message);
    }
  };
(async () => {
  let AgentSession = sessions();
  tapOn({ AgentSession, SessionTransport });
  let session = new AgentSession();
  await session.start({ old: true });
  sent.push(['without SessionHost', session.options]);

  AgentSession = sessions();
  const tap = tapOn({ AgentSession, SessionHost, SessionTransport });
  session = new AgentSession();
  await session.start({ fails: true }).catch((error) => sent.push(['start', error.message]));
  await session.start({ inputOptions: { mine: 1 } });
  sent.push(['options', session.options]);
  await session.start({ message: new Message() });
  await session.output.transcription.captureText('in parts');
  session.output.transcription.flush();
  const error = { label: 'my.LLM', error: new Error('no key') };
  session.emit('close', { reason: 'error', error });
  session.emit('close', { reason: 'again' });
  await new Promise((done) => setImmediate(done));
  await session.host.transport.sendMessage(new Message());
  tap.receive({ case: 'session_request', value: { session: 2, data: { request: { request_id: 'r' } } } });
  tap.receive({ case: 'session_request', value: { session: 9, data: {} } });
  tap.receive({ case: 'interrupt_session', value: { session: 2 } });
  await new AgentSession().start({ message: {} });
  await new AgentSession().start({ hides: true });
  await new Promise((done) => setImmediate(done));
  console.log(JSON.stringify(sent));
})();
"""


UNREAD = """
const { Child } = require(process.argv[1]);
const child = Object.assign(Object.create(Child.prototype), { unsent: 0 });
const written = [];
process.connected = true;
process.send = (message, done) => written.push({ message, done });
for (let i = 0; i < 2000; i++) child.offer('session_delta', { text: 'x' });
const offered = written.length;
child.send('session_data', { data: { text: 'half \\ud83d', list: ['\\ud83d'], at: new Date(0) } });
const { value } = written.at(-1).message;
for (const { done } of written.splice(0)) done();
child.offer('session_delta', { text: 'y' });
console.log(JSON.stringify([offered, value, written.length]));
"""


def printed(code: str, file: str) -> Any:
    """Return the JSON that Node code prints; its argument is a file of `child/node`."""
    path = Path(agent_tui.child.__file__).parent / "node" / file
    command = [str(newest_node()), "-e", code, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_a_host_that_does_not_read_loses_only_deltas() -> None:
    offered, data, later = printed(UNREAD, "child.cjs")
    assert (offered, later) == (1000, 1)
    assert data == {"data": {"text": "half \ufffd", "list": ["\ufffd"], "at": "1970-01-01T00:00:00.000Z"}}


def test_what_an_sdk_may_lack() -> None:
    sent = printed(CASES, "tap.cjs")
    quiet = {"inputOptions": {"mine": 1, "audioEnabled": False}, "outputOptions": {"audioEnabled": False}}
    assert sent[:8] == [
        ["without SessionHost", {"old": True}],
        ["session_closed", {"session": 1, "reason": "error", "error": "no room"}],
        ["start", "no room"],
        ["session_started", {"session": 2, "agent": "", "text_only": True, "realtime": False}],
        ["options", quiet],
        ["session_data", {"session": 2, "data": {"event": {}}}],
        ["session_delta", {"session": 2, "text": "in parts"}],
        ["session_closed", {"session": 2, "reason": "error", "error": "my.LLM: no key"}],
    ]
    assert sent[8:] == [
        ["warn", "agent-tui cannot show session 3: message.toJson is not a function"],
        ["warn", "agent-tui cannot show session 4: no agent"],
    ]
