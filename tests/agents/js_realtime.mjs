// Talks by a realtime model without a provider: it repeats its instructions and what the user said.
//
// A turn with "weather" calls a tool.
import { ReadableStream } from 'node:stream/web';
import { defineAgent, llm, voice } from '@livekit/agents';

const streamOf = (values) =>
  new ReadableStream({
    start(controller) {
      for (const value of values) controller.enqueue(value);
      controller.close();
    },
  });

class Model extends llm.RealtimeModel {
  constructor() {
    super({
      messageTruncation: false,
      turnDetection: false,
      userTranscription: false,
      autoToolReplyGeneration: false,
      audioOutput: false,
      manualFunctionCalls: false,
      midSessionChatCtxUpdate: true,
      midSessionInstructionsUpdate: true,
      midSessionToolsUpdate: true,
    });
  }
  get model() {
    return 'fake-realtime';
  }
  label() {
    return 'fake.RealtimeModel';
  }
  session() {
    return new Connection(this);
  }
  async close() {}
}

class Connection extends llm.RealtimeSession {
  context = llm.ChatContext.empty();
  toolContext = new llm.ToolContext([]);
  instructions = '';
  get chatCtx() {
    return this.context;
  }
  get tools() {
    return this.toolContext;
  }
  async updateInstructions(instructions) {
    this.instructions = String(instructions);
  }
  async updateChatCtx(context) {
    this.context = context.copy();
  }
  async updateTools(tools) {
    this.toolContext = tools;
  }
  async generateReply() {
    const items = this.context.items.filter(({ type }) => ['message', 'function_call_output'].includes(type));
    const said = items.filter(({ role }) => role === 'user').at(-1)?.textContent ?? 'nothing';
    const last = items.at(-1);
    const asks = last?.type !== 'function_call_output' && said.includes('weather');
    const text = last?.type === 'function_call_output' ? `It is ${JSON.parse(last.output)}.` : `${this.instructions} heard ${said}`;
    const id = `${items.length}`;
    const message = { messageId: `message-${id}`, textStream: streamOf([text]), audioStream: streamOf([]), modalities: Promise.resolve(['text']) };
    const call = asks && llm.FunctionCall.create({ callId: `call-${id}`, name: 'weather', args: '{}' });
    return {
      messageStream: streamOf(asks ? [] : [message]),
      functionStream: streamOf(asks ? [call] : []),
      userInitiated: true,
      responseId: `response-${id}`,
    };
  }
  updateOptions() {}
  pushAudio() {}
  async commitAudio() {}
  async clearAudio() {}
  async interrupt() {}
  async truncate() {}
}

class Desk extends voice.Agent {
  constructor() {
    super({
      id: 'desk',
      instructions: 'one',
      tools: [llm.tool({ name: 'weather', description: 'Return the weather.', execute: async () => 'sunny one' })],
    });
  }
}

export default defineAgent({
  entry: async (ctx) => {
    await ctx.connect();
    await new voice.AgentSession({ llm: new Model() }).start({ agent: new Desk(), room: ctx.room });
  },
});
