// Talks to itself with a scripted LLM, and writes what that cost its process (bench/talk.py).
import fs from 'node:fs';
import { defineAgent, llm, voice } from '@livekit/agents';

const TURNS = 25;
const PAUSE_MS = 150;
const TEXT = 'The quick brown fox jumps over the lazy dog, and comes back for more every day.';
const pause = (ms) => new Promise((done) => setTimeout(done, ms));

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
    for (let at = 0; at < TEXT.length; at += 5) {
      this.queue.put({ id: '1', delta: { role: 'assistant', content: TEXT.slice(at, at + 5) } });
      await pause(0);
    }
  }
}

/** Return the memory that only this process has, in MB. */
function privateMB() {
  const lines = fs.readFileSync('/proc/self/smaps_rollup', 'utf8').split('\n');
  const sizes = lines.filter((line) => line.startsWith('Private_')).map((line) => Number(line.split(/\s+/)[1]));
  return sizes.reduce((sum, kb) => sum + kb, 0) / 1024;
}

export default defineAgent({
  entry: async (ctx) => {
    await ctx.connect();
    const session = new voice.AgentSession({ llm: new Scripted(), vad: null, turnDetection: 'manual' });
    const quiet = { audioEnabled: false };
    const agent = new voice.Agent({ instructions: 'talk' });
    await session.start({ agent, room: ctx.room, inputOptions: quiet, outputOptions: quiet });
    await pause(1000);
    const before = process.cpuUsage();
    for (let turn = 0; turn < TURNS; turn++) {
      await session.generateReply({ userInput: `turn ${turn}` }).waitForPlayout();
      await pause(PAUSE_MS);
    }
    const used = process.cpuUsage(before);
    const cost = { cpu_ms: (used.user + used.system) / 1000 / TURNS, mb: privateMB() };
    fs.writeFileSync(process.env.BENCH_OUT, JSON.stringify(cost));
    ctx.shutdown('measured');
  },
});
