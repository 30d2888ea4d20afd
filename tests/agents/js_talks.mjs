// Talks without keys: what its scripted LLM does depends on what the user says.
//
// TALK_SESSIONS is the number of sessions of a job, and with TALK_TTS they have a TTS that always fails.
import { defineAgent, llm, tts, voice } from '@livekit/agents';

class Scripted extends llm.LLM {
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
    const texts = items.filter((item) => item.role === 'user').map((item) => item.textContent ?? '');
    const said = texts.at(-1) ?? '';
    const last = items.at(-1);
    const tool = ['weather', 'stuck', 'breaks', 'fails', 'billing'].find((name) => said.includes(name));
    if (last?.type === 'function_call_output') this.say(`It is ${last.isError ? last.output : JSON.parse(last.output)}.`);
    else if (tool) {
      const call = llm.FunctionCall.create({ callId: `call-${items.length}`, name: tool, args: '{}' });
      this.queue.put({ id: '1', delta: { role: 'assistant', toolCalls: [call] } });
    } else if (said.includes('hang')) await new Promise(() => {});
    else if (said.includes('raise')) throw new Error('no such model');
    else if (said.includes('long')) this.say('x'.repeat(2 ** 20));
    else if (said.includes('odd')) this.say('half \ud83d of a face');
    else this.say(said ? `reply ${texts.length} to ${said}` : 'Hello!');
    const usage = { completionTokens: 1, promptTokens: items.length, promptCachedTokens: 0, totalTokens: 1 + items.length };
    this.queue.put({ id: '1', usage });
  }
  say(text) {
    for (let i = 0; i < text.length; i += 16384) {
      this.queue.put({ id: '1', delta: { role: 'assistant', content: text.slice(i, i + 16384) } });
    }
  }
}

class FailingTTS extends tts.TTS {
  label = 'failing.TTS';
  constructor() {
    super(24000, 1, { streaming: false });
  }
  synthesize() {
    throw new Error('the TTS was called');
  }
  stream() {
    throw new Error('the TTS was called');
  }
}

class Billing extends voice.Agent {
  constructor() {
    super({ id: 'billing', instructions: 'billing' });
  }
}

class Talker extends voice.Agent {
  constructor() {
    const tool = (name, execute) => llm.tool({ name, description: name, execute });
    super({
      id: 'talker',
      instructions: 'talker',
      tools: [
        tool('weather', async () => new Promise((done) => setTimeout(done, 50, 'sunny'))),
        tool('stuck', async () => new Promise(() => {})),
        tool('fails', async () => {
          throw new llm.ToolError('no weather');
        }),
        tool('breaks', async () => {
          throw new TypeError('no such table');
        }),
        tool('billing', async () => llm.handoff({ agent: new Billing(), returns: 'with billing' })),
      ],
    });
  }
  async onEnter() {
    this.session.generateReply({ instructions: 'greet' });
  }
}

export default defineAgent({
  entry: async (ctx) => {
    await ctx.connect();
    for (let number = 0; number < Number(process.env.TALK_SESSIONS ?? 1); number++) {
      const session = new voice.AgentSession({
        llm: new Scripted(),
        ...(process.env.TALK_TTS && { tts: new FailingTTS() }),
      });
      await session.start({ agent: new Talker(), ...(number === 0 && { room: ctx.room }) });
    }
  },
});
