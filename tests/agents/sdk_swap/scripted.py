"""An LLM that needs no key: it calls the tool that the user names, and else says its instructions."""

from livekit.agents import llm

STARTS = []
"""Grows each time this module runs."""
STARTS.append(len(STARTS) + 1)


class Scripted(llm.LLM):
    def chat(self, *, chat_ctx, tools=None, conn_options=None, **kwargs):
        return Stream(self, chat_ctx=chat_ctx, tools=tools or [], conn_options=conn_options)


class Stream(llm.LLMStream):
    async def _run(self):
        items = [item for item in self._chat_ctx.items if item.type != "agent_config_update"]
        messages = [item for item in items if item.type == "message"]
        said = [item.text_content or "" for item in messages if item.role == "user"]
        instructions = [item.text_content or "" for item in messages if item.role == "system"]
        names = {tool.info.name for tool in self._tools}
        last = (said or [""])[-1]
        if items and items[-1].type == "function_call_output":
            self._say(f"{items[-1].output} | {instructions[-1]}")
        elif last in names:
            call = llm.FunctionToolCall(name=last, arguments="{}", call_id=f"call-{len(items)}")
            self._send(llm.ChoiceDelta(role="assistant", tool_calls=[call]))
        elif not said:
            self._say("Hello!")
        else:
            self._say(f"{len(said)} {' '.join(instructions)}")

    def _say(self, text):
        self._send(llm.ChoiceDelta(role="assistant", content=text))

    def _send(self, delta):
        self._event_ch.send_nowait(llm.ChatChunk(id="1", delta=delta))
