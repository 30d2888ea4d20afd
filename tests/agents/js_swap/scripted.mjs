// An LLM that needs no key: it calls the tool that the user names, and else says its instructions.
import { llm } from '@livekit/agents';

// Grows each time this module runs.
export const STARTS = [];
STARTS.push(STARTS.length + 1);

export class Scripted extends llm.LLM {
  label() {
    return 'scripted.LLM';
  }
  chat({ chatCtx, toolCtx, connOptions = { maxRetry: 0, retryIntervalMs: 1, timeoutMs: 10000 } }) {
    return new Stream(this, { chatCtx, toolCtx, connOptions });
  }
}

class Stream extends llm.LLMStream {
  async run() {
    const items = this.chatCtx.items.filter((item) => item.type !== 'agent_config_update');
    const texts = (role) => items.filter((item) => item.role === role).map((item) => item.textContent ?? '');
    const said = texts('user');
    const instructions = texts('system');
    const last = items.at(-1);
    if (last?.type === 'function_call_output') {
      this.say(`${last.isError ? last.output : JSON.parse(last.output)} | ${instructions.at(-1)}`);
    } else if (this.toolCtx?.hasTool(said.at(-1))) {
      const call = llm.FunctionCall.create({ callId: `call-${items.length}`, name: said.at(-1), args: '{}' });
      this.queue.put({ id: '1', delta: { role: 'assistant', toolCalls: [call] } });
    } else this.say(said.length > 0 ? `${said.length} ${instructions.join(' ')}` : 'Hello!');
  }
  say(text) {
    this.queue.put({ id: '1', delta: { role: 'assistant', content: text } });
  }
}
