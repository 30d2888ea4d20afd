// The control process: loads the file as `node FILE` would, reports what it found, and runs its functions
// when asked. The host enforces time limits; each question gets exactly one answer, whatever the agent's code
// does.
'use strict';
const { EventEmitter } = require('node:events');
const { createRequire } = require('node:module');
const path = require('node:path');
const { definitionIn } = require('./child.cjs');
const { describeNow, PLACE, plainPath } = require('./describe.cjs');

const TYPES = ['room', 'publisher', 'participant'];
const SOURCES = ['unknown', 'camera', 'microphone', 'screen_share', 'screen_share_audio'];
const OPTIONS = [
  'agentName', 'apiKey', 'apiSecret', 'drainTimeout', 'host', 'initializeProcessTimeout', 'jobMemoryLimitMB',
  'jobMemoryWarnMB', 'loadFunc', 'loadThreshold', 'logLevel', 'maxRetry', 'numIdleProcesses', 'permissions', 'port',
  'production', 'requestFunc', 'serverType', 'sessionEndTimeout', 'shutdownProcessTimeout', 'workerToken', 'wsURL',
];
const FLAGS = ['canPublish', 'canSubscribe', 'canPublishData', 'canUpdateMetadata', 'hidden'];
const NO_OUTCOME = 'agent-tui did not report whether the job was assigned';

/** Replaces the SDK's ways to start a worker: keeps what the file passed, and starts nothing. */
class Capture {
  #given = new WeakMap();

  constructor(sdk, child) {
    const capture = this;
    this.child = child;
    this.started = null;
    this.made = null; // the last options, for a file that starts its worker in an unknown way
    class ServerOptions extends sdk.ServerOptions {
      constructor(options) {
        super(options);
        capture.made = this;
        capture.#given.set(this, { options: { ...options }, where: capture.caller() });
      }
    }
    class AgentServer {
      constructor(options) {
        this.event = new EventEmitter();
        this.options = options;
      }
      async run() {
        capture.started = this.options;
        await new Promise(() => {});
      }
    }
    Object.defineProperty(ServerOptions, 'name', { value: 'ServerOptions' });
    this.shim = {
      ServerOptions,
      AgentServer,
      cli: { ...sdk.cli, runApp: (options) => void (capture.started = options) },
    };
    if (sdk.WorkerOptions) this.shim.WorkerOptions = ServerOptions;
    if (sdk.Worker) this.shim.Worker = AgentServer;
  }

  /** Return what was passed, with its place. */
  get passed() {
    return (this.started && this.#given.get(this.started)) ?? { options: this.started ?? {}, where: '' };
  }

  /** Return the innermost place in the project's files, as `agent.mjs:12`. */
  caller() {
    for (const line of new Error().stack.split('\n').slice(1)) {
      const match = PLACE.exec(line.trim());
      const file = match && plainPath(match[1]);
      if (!file || !this.child.modules.isProjects(file)) continue;
      const relative = path.relative(path.dirname(this.child.it.file), file);
      return `${relative.startsWith('..') ? file : relative}:${match[2]}`;
    }
    return '';
  }
}

function portable(name, value) {
  if (name === 'serverType') return TYPES[value] ?? String(value);
  if (name === 'permissions') {
    const sources = (value.canPublishSources ?? []).map((each) => SOURCES[each] ?? String(each));
    return { ...Object.fromEntries(FLAGS.map((each) => [each, Boolean(value[each])])), canPublishSources: sources };
  }
  if (typeof value === 'function') return value.name || 'anonymous';
  if (typeof value === 'number' && !Number.isFinite(value)) {
    return { $float: Number.isNaN(value) ? 'nan' : value > 0 ? 'inf' : '-inf' };
  }
  return value;
}

async function run(child, how) {
  const { it: spec, sdk } = child;
  const started = performance.now();
  process.argv = [process.execPath, spec.file, spec.production ? 'start' : 'dev'];
  const capture = new Capture(sdk, child);
  await child.modules.replaceSdk(capture.shim);
  let module;
  let definition;
  let agent = spec.file;
  try {
    sdk.initializeLogger({ pretty: false, level: spec.sdk_level });
    module = await how.loadMain(spec.file);
    agent = agentPath(capture.passed.options.agent) ?? spec.file;
    definition = definitionIn(sdk, agent === spec.file ? module : await how.load(agent), agent);
  } catch (error) {
    await child.fail(error);
    return;
  }
  const loadMs = performance.now() - started;
  child.enter('');
  // As in the SDK's job main: errors of promises that the file leaves behind do not end the process.
  process.on('unhandledRejection', (error) => console.error(describeNow(error, child).traceback));
  const { options, where } = capture.passed;
  const own = functionsOf(module);
  const request = chosen(own, spec.request_func) ?? options.requestFunc;
  const load = chosen(own, spec.load_func) ?? options.loadFunc;
  const registered = { ...(sdk.InferenceRunner?.registeredRunners ?? {}) };
  const runners = { ...(await sdksRunner(how)), ...registered };
  const { files, packages } = await child.modules.loaded();
  const set = {};
  for (const name of OPTIONS) {
    const value = options[name];
    if (value !== undefined && value !== null && value !== '') set[name] = { value: portable(name, value), where };
  }
  child.isReady = true;
  child.send('manifest', {
    runtime: 'agents-js',
    sdk_version: child.config.version,
    options: set,
    has_entry: true,
    has_prewarm: typeof definition.prewarm === 'function',
    has_request_func: typeof request === 'function',
    has_load_func: typeof load === 'function',
    inference_runners: Object.keys(runners).sort(),
    lazy_runners: Object.keys(registered).length === 0,
    own_runners: Object.values(runners).some((each) => child.modules.isProjects(plainPath(each))),
    functions: JSON.stringify({ agent, runners: JSON.stringify(runners) }),
    files,
    load_ms: loadMs,
    roots: [],
    imports: packages,
    function_names: [...own.keys()],
  });
  serve(child, request, load);
}

function agentPath(agent) {
  if (typeof agent !== 'string' || !agent) return null;
  const file = path.resolve(plainPath(agent));
  return file;
}

/** Return the functions that the file exports, by name, and those of a default export that is an object. */
function functionsOf(module) {
  const found = new Map();
  for (const names of [module, module.default, module.default?.default]) {
    for (const [name, value] of Object.entries(names ?? {})) {
      if (typeof value === 'function' && name !== 'default' && !found.has(name)) found.set(name, value);
    }
  }
  for (const name of ['entry', 'prewarm', 'onSessionEnd', 'onSimulationEnd']) found.delete(name);
  return found;
}

function chosen(own, name) {
  return name ? own.get(name) : undefined;
}

/**
 * Return the SDK's own inference runner, which its worker registers if the native part can be loaded: path by
 * method.
 */
async function sdksRunner(how) {
  try {
    const { EOT_INFERENCE_METHOD } = await how.importSdk('inference/eot/runner');
    const { _getLocalInferenceModule } = await how.importSdk('inference/_warmup');
    if (!EOT_INFERENCE_METHOD || _getLocalInferenceModule() === undefined) return {};
    return { [EOT_INFERENCE_METHOD]: how.sdkUrl('inference/eot/runner') };
  } catch {
    return {}; // an SDK without this runner
  }
}

function serve(child, request, load) {
  const { sdk } = child;
  const protocol = createRequire(`${child.config.sdk}/package.json`)('@livekit/protocol');
  const job = (data) => protocol.Job.fromJson(data, { ignoreUnknownFields: true });
  const offers = new Map();
  const server = Object.assign(new EventEmitter(), { id: 'unregistered', activeJobs: [] });
  server.event = server;
  let ending = false;

  function ask(value) {
    const offer = { answered: false };
    offer.outcome = new Promise((resolve) => (offer.settle = resolve));
    offers.set(value.job_id, offer);
    const answer = (fields) => {
      offer.answered = true;
      child.send('request_answer', { job_id: value.job_id, accept: null, terminate: false, error: null, ...fields });
    };
    const reject = async () => {
      if (!offer.answered) answer({});
    };
    // As in the SDK, `accept` does not wait for the job.
    const accept = async ({ name, identity, metadata, attributes }) => {
      if (offer.answered) throw new Error(`the offer of job ${value.job_id} was already answered`);
      const plain = Object.fromEntries(Object.entries(attributes ?? {}).map(([key, each]) => [key, String(each)]));
      const named = { ...plain, 'lk.agent.name': value.job.agentName ?? '' };
      answer({
        accept: {
          identity: String(identity || `agent-${value.job_id}`),
          name: String(name ?? ''),
          metadata: String(metadata ?? ''),
          attributes: named,
        },
      });
    };
    (async () => {
      try {
        const asked = new sdk.JobRequest(job(value.job), reject, accept);
        await (request ? request.call(undefined, asked) : asked.accept());
        if (!offer.answered) answer({ error: 'the request function returned without accepting or rejecting' });
      } catch (error) {
        const { error: text, traceback } = describeNow(error, child);
        console.error(`the request function failed on job ${value.job_id}: ${traceback}`);
        if (!offer.answered) answer({ error: text });
      } finally {
        offers.delete(value.job_id);
      }
    })();
  }

  async function askLoad(value) {
    const answer = { request_id: value.request_id, load: null, error: null };
    try {
      const result = Number(await load(server));
      if (!Number.isFinite(result)) throw new RangeError(`the load function returned ${result}`);
      answer.load = result;
    } catch (error) {
      answer.error = describeNow(error, child).error;
    }
    child.send('load_answer', answer);
  }

  function live(value) {
    server.id = value.worker_id;
    server.draining = value.draining;
    server.activeJobs = value.active_jobs.map((each) => ({
      acceptArguments: each.accept,
      job: job(each.job),
      url: each.url,
      token: each.token,
      workerId: each.worker_id,
    }));
  }

  process.on('message', ({ case: name, value }) => {
    if (name === 'ping') child.send('pong', { sent_ms: value.sent_ms });
    else if (name === 'ask_request') ask(value);
    else if (name === 'ask_load') askLoad(value);
    else if (name === 'worker_live') live(value);
    else if (name === 'accept_outcome') offers.get(value.job_id)?.settle(value.error ?? NO_OUTCOME);
    else if (name === 'shutdown' || name === 'shutdownRequest') {
      if (ending) return;
      ending = true;
      child.send('shutdown_ack');
      child.send('shutting_down');
      setTimeout(() => process.exit(0), process.connected ? 20 : 0);
    }
  });
}

module.exports = { run };
