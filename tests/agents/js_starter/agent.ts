import { DEFAULT_API_CONNECT_OPTIONS, llm, voice } from '@livekit/agents';

/** Says what it was told, without a network. */
class Parrot extends llm.LLM {
  label(): string {
    return 'parrot';
  }

  chat(asked: Parameters<llm.LLM['chat']>[0]): llm.LLMStream {
    return new Saying(this, { ...asked, connOptions: asked.connOptions ?? DEFAULT_API_CONNECT_OPTIONS });
  }
}

class Saying extends llm.LLMStream {
  protected async run(): Promise<void> {
    const said = this.chatCtx.items.filter((each) => each.type === 'message' && each.role === 'user').at(-1);
    const content = `You said: ${said?.type === 'message' ? said.textContent : ''}`;
    this.queue.put({ id: '1', delta: { role: 'assistant', content } });
  }
}

export class Assistant extends voice.Agent {
  constructor() {
    super({ instructions: 'Repeat what the caller says.', llm: new Parrot() });
  }
}
