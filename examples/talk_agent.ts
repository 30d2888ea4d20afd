// An agent that talks without keys: its LLM is a script. Install it with `npm ci` in this folder, then run
//
//   agent-tui examples/talk_agent.ts --local --say "any room on Friday?"
//
// Replace `new ScriptedLLM()` by your model, such as `new openai.LLM()`, and the rest stays as it is.
import { fileURLToPath } from 'node:url';
import { setTimeout as sleep } from 'node:timers/promises';
import { type JobContext, ServerOptions, cli, defineAgent, llm, voice } from '@livekit/agents';
import { z } from 'zod';

const ROOMS: Record<string, string[]> = {
  friday: ['garden view, 90 €', 'attic, 75 €'],
  saturday: ['attic, 75 €'],
};

/** The front desk of a small hotel. */
class Receptionist extends voice.Agent {
  constructor() {
    super({
      instructions: 'You are the front desk of a small hotel. Answer in one or two sentences.',
      tools: {
        findRooms: llm.tool({
          description: 'Return the free rooms of a day.',
          parameters: z.object({ day: z.string() }),
          execute: async ({ day }) => {
            await sleep(200);
            return ROOMS[day.toLowerCase()] ?? [];
          },
        }),
      },
    });
  }

  override async onEnter(): Promise<void> {
    this.session.generateReply({ instructions: 'Greet the guest.' });
  }
}

export default defineAgent({
  entry: async (ctx: JobContext): Promise<void> => {
    const session = new voice.AgentSession({ llm: new ScriptedLLM() });
    await session.start({ agent: new Receptionist(), room: ctx.room });
    await ctx.connect();
  },
});

/** Answers from a script, word by word, as a model would. */
class ScriptedLLM extends llm.LLM {
  label(): string {
    return 'scripted.LLM';
  }

  chat(options: Parameters<llm.LLM['chat']>[0]): llm.LLMStream {
    const connOptions = options.connOptions ?? { maxRetry: 0, retryIntervalMs: 0, timeoutMs: 10_000 };
    return new ScriptedStream(this, { ...options, connOptions });
  }
}

class ScriptedStream extends llm.LLMStream {
  protected async run(): Promise<void> {
    // A save that changes the instructions adds an item, too.
    const items = this.chatCtx.items.filter(({ type }) => ['message', 'function_call', 'function_call_output'].includes(type));
    const last = items.at(-1);
    const said = items.findLast((item) => item.type === 'message' && item.role === 'user');
    const text = (said?.type === 'message' && said.textContent) || '';
    const day = Object.keys(ROOMS).find((each) => text.toLowerCase().includes(each));
    if (last?.type === 'function_call_output') {
      const rooms: string[] = JSON.parse(last.output);
      await this.say(rooms.length ? `These rooms are free: ${rooms.join('; ')}.` : 'I am sorry, we are full.');
    } else if (day) {
      const call = { callId: `call-${items.length}`, name: 'findRooms', args: JSON.stringify({ day }) };
      this.queue.put({ id: '1', delta: { role: 'assistant', toolCalls: [llm.FunctionCall.create(call)] } });
    } else if (!text) {
      await this.say('Good evening, this is the front desk. How can I help you?');
    } else {
      await this.say(`You said: ${text} Ask me for a room on Friday or Saturday.`);
    }
    const promptTokens = 40 + 9 * items.length;
    const usage = { completionTokens: 12, promptTokens, promptCachedTokens: 0, totalTokens: promptTokens + 12 };
    this.queue.put({ id: '1', usage });
  }

  private async say(text: string): Promise<void> {
    for (const word of text.split(' ')) {
      this.queue.put({ id: '1', delta: { role: 'assistant', content: `${word} ` } });
      await sleep(30);
    }
  }
}

cli.runApp(new ServerOptions({ agent: fileURLToPath(import.meta.url) }));
