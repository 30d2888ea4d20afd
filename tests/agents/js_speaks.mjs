// Speaks without keys: its VAD and STT hear tones, its LLM is a script, and its TTS plays a tone.
//
// Each component takes a known time, so that the parts of a turn's latency are known.
import { setTimeout as sleep } from 'node:timers/promises';
import { VAD, VADEventType, VADStream, defineAgent, llm, stt, tts, voice } from '@livekit/agents';
import { AudioFrame } from '@livekit/rtc-node';

const RATE = 24_000;
const [STT_MS, HOOK_MS, LLM_MS, TOOL_MS, TTS_MS] = [50, 30, 150, 120, 100]; // how long each component takes
const LOUD = 1_000; // from which amplitude on a frame counts as speech
const [SPEECH_MS, SILENCE_MS] = [50, 250]; // how much of each the VAD needs to decide

class ToneVAD extends VAD {
  label = 'tones.VAD';
  constructor() {
    super({ updateInterval: 50 });
  }
  stream() {
    return new ToneStream(this);
  }
}

class ToneStream extends VADStream {
  label = 'tones.VADStream';
  constructor(vad) {
    super(vad);
    this.listen();
  }
  async listen() {
    let [speaking, speech, silence, samples, spoken] = [false, 0, 0, 0, []];
    for (;;) {
      const { done, value: frame } = await this.inputReader.read();
      if (done) return;
      if (typeof frame === 'symbol') continue;
      const ms = (frame.samplesPerChannel / frame.sampleRate) * 1000;
      const isLoud = frame.data.some((each) => Math.abs(each) >= LOUD);
      samples += frame.samplesPerChannel;
      if (isLoud || speaking) spoken.push(frame);
      speech += isLoud ? ms : 0;
      silence = isLoud ? 0 : silence + ms;
      const report = (type, frames) =>
        this.sendVADEvent({
          type,
          samplesIndex: samples,
          timestamp: Date.now(),
          speechDuration: speech,
          silenceDuration: silence,
          frames,
          probability: isLoud ? 1 : 0,
          inferenceDuration: 0,
          speaking,
          rawAccumulatedSpeech: isLoud ? speech : 0,
          rawAccumulatedSilence: silence,
        });
      if (!speaking && speech >= SPEECH_MS) {
        speaking = true;
        report(VADEventType.START_OF_SPEECH, [frame]);
      }
      report(VADEventType.INFERENCE_DONE, [frame]);
      if (speaking && silence >= SILENCE_MS) {
        speaking = false;
        report(VADEventType.END_OF_SPEECH, spoken);
        [speech, spoken] = [0, []];
      }
    }
  }
}

/** Hears `turn 1`, `turn 2`, and so on. */
class CountingSTT extends stt.STT {
  label = 'tones.STT';
  count = 0;
  constructor() {
    super({ streaming: false, interimResults: false });
  }
  async _recognize() {
    this.count += 1;
    const text = `turn ${this.count}${this.count === 5 ? ' weather' : ''}`;
    await sleep(STT_MS);
    const heard = { language: 'en', text, startTime: 0, endTime: 0, confidence: 1 };
    return { type: stt.SpeechEventType.FINAL_TRANSCRIPT, alternatives: [heard] };
  }
  stream() {
    throw new Error('not streaming');
  }
}

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
    const said = items.findLast((item) => item.role === 'user')?.textContent ?? '';
    const last = items.at(-1);
    await sleep(LLM_MS);
    const delta = { role: 'assistant' };
    if (last?.type === 'function_call_output') delta.content = `It is ${JSON.parse(last.output)}.`;
    else if (said.includes('weather')) {
      delta.toolCalls = [llm.FunctionCall.create({ callId: `call-${items.length}`, name: 'weather', args: '{}' })];
    } else delta.content = `Reply to ${said}.`;
    this.queue.put({ id: '1', delta });
    const usage = { completionTokens: 3, promptTokens: items.length, promptCachedTokens: 0, totalTokens: 3 + items.length };
    this.queue.put({ id: '1', usage });
  }
}

class ToneTTS extends tts.TTS {
  label = 'tones.TTS';
  constructor() {
    super(RATE, 1, { streaming: false });
  }
  synthesize(text, connOptions, abortSignal) {
    return new Tone(text, this, connOptions, abortSignal);
  }
  stream() {
    throw new Error('not streaming');
  }
}

class Tone extends tts.ChunkedStream {
  label = 'tones.ChunkedStream';
  async run() {
    await sleep(TTS_MS);
    const size = RATE / 50; // samples in 20 ms
    for (let part = 0; part < 20; part += 1) {
      const wave = Int16Array.from({ length: size }, (_, n) => 12_000 * Math.sin((2 * Math.PI * 440 * (part * size + n)) / RATE));
      const frame = new AudioFrame(wave, RATE, 1, size);
      this.queue.put({ requestId: '1', segmentId: '1', frame, final: part === 19 });
    }
    this.queue.close();
  }
}

class Speaker extends voice.Agent {
  constructor() {
    const weather = llm.tool({
      name: 'weather',
      description: 'Return the weather.',
      execute: async () => {
        await sleep(TOOL_MS);
        return 'sunny';
      },
    });
    super({ id: 'speaker', instructions: 'speaker', tools: [weather] });
  }
  async onUserTurnCompleted() {
    await sleep(HOOK_MS);
  }
}

export default defineAgent({
  entry: async (ctx) => {
    const session = new voice.AgentSession({
      vad: new ToneVAD(),
      stt: new CountingSTT(),
      llm: new Scripted(),
      tts: new ToneTTS(),
      turnHandling: { turnDetection: 'vad', endpointing: { minDelay: 300 }, preemptiveGeneration: { enabled: false } },
    });
    await session.start({ agent: new Speaker(), room: ctx.room });
    await ctx.connect();
  },
});
