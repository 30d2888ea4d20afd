// An agent whose code tests change while it talks.
import fs from 'node:fs';
import { fileURLToPath } from 'node:url';
import { defineAgent, llm, voice } from '@livekit/agents';
import { PRICE } from './prices.mjs';
import { STARTS, Scripted } from './scripted.mjs';

const here = (name) => fileURLToPath(new URL(name, import.meta.url));
const pause = () => new Promise((done) => setTimeout(done, 20));
const calls = [];

class Base extends voice.Agent {
  greeting() {
    return 'base one';
  }
}

class Desk extends Base {
  static label = 'label one';
  count = 0;
  #secret = 'secret one';

  constructor() {
    super({
      id: 'desk',
      instructions: 'instructions one',
      tools: {
        facts: llm.tool({
          description: 'Return what this code knows.',
          execute: async () => {
            this.count += 1;
            calls.push(this.count);
            const { label } = this.constructor;
            return `facts one ${this.count} ${label} ${this.greeting()} ${PRICE} ${STARTS.length} ${this.#secret}`;
          },
        }),
        slow: llm.tool({
          description: 'Wait for a file, and then call the base class.',
          execute: async () => {
            fs.writeFileSync(here('running'), '');
            while (!fs.existsSync(here('go'))) await pause();
            return `slow one ${this.late()}`;
          },
        }),
        billing: llm.tool({
          description: 'Hand over.',
          execute: async () => llm.handoff({ agent: new Billing(), returns: 'with billing' }),
        }),
        transfer: llm.tool({
          description: 'Wait for a file, and then hand over.',
          execute: async () => {
            fs.writeFileSync(here('running'), '');
            while (!fs.existsSync(here('go'))) await pause();
            return llm.handoff({ agent: new Billing(), returns: 'transfer one' });
          },
        }),
        ask: llm.tool({
          description: 'Run a task that talks to the user.',
          execute: async () => new Question().run(),
        }),
        lazy: llm.tool({
          description: 'Import a module late.',
          execute: async () => (await import('./late.mjs')).late,
        }),
      },
    });
  }

  late() {
    return super.greeting();
  }

  async onEnter() {
    this.session.generateReply();
  }
}

class Billing extends voice.Agent {
  constructor() {
    super({ id: 'billing', instructions: 'billing one' });
  }
}

class Question extends voice.AgentTask {
  constructor() {
    super({
      id: 'question',
      instructions: 'question one',
      tools: { done: llm.tool({ description: 'End the task.', execute: async () => this.complete('done one') }) },
    });
  }

  async onEnter() {
    this.session.generateReply({ userInput: 'hi' });
  }
}

export default defineAgent({
  entry: async (ctx) => {
    await ctx.connect();
    const session = new voice.AgentSession({ llm: new Scripted() });
    await session.start({ agent: new Desk(), room: ctx.room });
    void (async () => {
      while (!fs.existsSync(here('late'))) await pause();
      session.updateAgent(new Billing());
    })();
  },
});
