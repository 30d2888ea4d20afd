// One process of an agents-js file: a blank that gets its spec later, then a control, job, or inference
// process.
//
// agent-tui's messages have the names of the Python children's (`model/child.py`), in snake case; the SDK's
// job main has its own (agents-js.md §8) on the same channel.
'use strict';
const path = require('node:path');
const { describe, describeNow } = require('./describe.cjs');
const { Modules } = require('./modules.cjs');

const DOING = { loading: 'the file was loaded', prewarm: 'its prewarm function ran' };
const MAX_UNSENT = 1000; // messages that may wait for a host that does not read; more deltas are dropped
const DEFINITION = Symbol.for('agent-tui.definition');

class Child {
  constructor(config) {
    this.config = config;
    this.phase = 'importing the SDK';
    this.unsent = 0;
    this.isReady = false; // once its file is loaded and prewarm is done
    this.given = Object.keys(process.env); // packages may set more when they are imported, as dotenv does
    this.modules = new Modules(config);
    // Listens from the start: the host may send the spec while the SDK is still being imported. It sends
    // nothing else until it has received `loading`; Node keeps what comes then until there is a listener
    // again.
    this.spec = new Promise((resolve) => {
      process.once('message', (message) => resolve(message.value));
    });
    this.onDisconnect = () => process.exit(0);
    process.once('disconnect', this.onDisconnect);
  }

  /** Prepare everything that does not depend on the agent's code. */
  async blank({ sdk, sdkUrl, preload, tsx }) {
    this.sdk = sdk;
    await this.modules.install({ sdkUrl, tsx: this.config.tsx ? tsx : null });
    for (const each of this.config.preload) {
      try {
        await preload(each);
      } catch {
        // the agent's own import reports what is wrong
      }
    }
    this.phase = '';
    this.send('blank_ready');
  }

  async run(how) {
    const spec = (this.it = await this.spec);
    process.off('disconnect', this.onDisconnect);
    process.on('disconnect', () => this.hostLost());
    for (const name of this.given) {
      if (!(name in spec.environ)) delete process.env[name];
    }
    Object.assign(process.env, spec.environ);
    if (!spec.production) process.env.LIVEKIT_DEV_MODE = '1'; // `dev` sets this for its children; `start` does not
    await this.modules.serve(spec.snapshot, spec.missing);
    process.on('beforeExit', () => this.ranDry());
    process.on('uncaughtExceptionMonitor', (error) => {
      if (process.listenerCount('uncaughtException') === 0) this.failing(error);
    });
    const exit = process.exit;
    process.exit = (code) => {
      if (this.phase in DOING) {
        this.failing(new Error(`process.exit(${code ?? ''}) was called while ${DOING[this.phase]}`));
      }
      return exit.call(process, code);
    };
    this.enter('loading');
    this.send('loading');
    if (spec.kind === 'control') {
      await require('./control.cjs').run(this, how);
    } else if (spec.kind === 'inference') {
      process.argv = [process.execPath, how.main('inference_proc_lazy_main'), spec.runners];
      this.enter('');
      this.isReady = true;
      watchInference();
      await how.importMain('inference_proc_lazy_main');
    } else {
      await require('./job.cjs').run(this, how);
    }
  }

  /** While the agent's code is awaited, the channel does not keep the process alive: see `ranDry`. */
  enter(phase) {
    this.phase = phase;
    if (phase) process.channel?.unref();
    else process.channel?.ref();
  }

  /** Queue a message. This never waits for the host to read. */
  send(name, value = {}) {
    if (!process.connected) return;
    this.unsent += 1;
    process.send({ case: name, value: wellFormed(value) }, () => {
      this.unsent -= 1;
    });
  }

  /** Queue a message that is dropped if too many are queued. */
  offer(name, value) {
    if (this.unsent < MAX_UNSENT) this.send(name, value);
  }

  /** Report what failed, and end. */
  async fail(error) {
    this.enter('');
    const described = await describe(error, this);
    await new Promise((done) => process.send({ case: 'failed', value: wellFormed(described) }, () => done()));
    process.exit(1);
  }

  /** Report why the process is about to end, unless it is ready. */
  failing(error) {
    if (!this.isReady) this.send('failed', describeNow(error, this));
    this.isReady = true;
    this.phase = '';
  }

  /**
   * Fail because nothing is left that could finish what the agent's code waits for: Node would exit with code
   * 0 (agents-js.md §7).
   */
  ranDry() {
    if (!this.phase) return;
    const what = this.phase === 'loading' ? 'top-level await' : 'prewarm function';
    this.fail(new Error(`the ${what} of ${path.basename(this.it.file)} waits for a promise that nothing will resolve`));
  }

  /** End the job as if the host had asked for it; agent-tui's guard kills what takes too long. */
  hostLost() {
    if (!process.emit('message', { case: 'shutdownRequest', value: { reason: 'agent-tui exited' } })) {
      process.exit(0);
    }
  }

  set definition(definition) {
    globalThis[DEFINITION] = definition;
  }
}

/** Return a message with lone surrogates replaced: the host could not decode them. */
function wellFormed(value) {
  if (typeof value === 'string') return value.toWellFormed();
  if (Array.isArray(value)) return value.map(wellFormed);
  if (value === null || typeof value !== 'object') return value;
  if (typeof value.toJSON === 'function') return wellFormed(value.toJSON());
  return Object.fromEntries(Object.entries(value).map(([name, each]) => [name, wellFormed(each)]));
}

/**
 * Send inference errors as text: Node's JSON of an error is `{}`, so callers would read "undefined". And let
 * the process exit when it is done: its end of the channel would keep it alive.
 */
function watchInference() {
  const send = process.send;
  process.send = function (message, ...rest) {
    const error = message?.value?.error;
    if (error instanceof Error) message = { ...message, value: { ...message.value, error: { message: error.message } } };
    if (message?.case === 'done') return send.call(this, message, () => process.exit(process.exitCode ?? 0));
    return send.call(this, message, ...rest);
  };
}

/** Return the definition in a module, found as the SDK's job main finds it. Throws if there is none. */
function definitionIn(sdk, module, file) {
  const isAgent = sdk.isAgent;
  const found =
    typeof module.default === 'function' || isAgent(module.default) ? module.default : module.default?.default;
  if ((found ?? module.default) === undefined) {
    throw new TypeError(`${file} has no default export; it needs export default defineAgent({ entry })`);
  }
  if (!isAgent(found)) {
    throw new TypeError(`the default export of ${file} was not made with defineAgent({ entry })`);
  }
  if (typeof found.entry !== 'function') {
    throw new TypeError(`the default export of ${file} has no entry function`);
  }
  return found;
}

module.exports = { Child, definitionIn };
