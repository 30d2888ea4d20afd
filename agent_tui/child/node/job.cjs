// A job process: the SDK's own job main, around the watched definition of the agent's file.
'use strict';
const fs = require('node:fs');
const inspector = require('node:inspector');
const path = require('node:path');
const { definitionIn } = require('./child.cjs');
const { describeNow } = require('./describe.cjs');
const { standIn } = require('./participants.cjs');
const { Swapper } = require('./swap.cjs');
const { Tap } = require('./tap.cjs');

const MAIN = 'job_proc_lazy_main';
const READ_MS = 10;

async function run(child, how) {
  const { file } = child.it;
  const main = how.main(MAIN);
  process.argv = [process.execPath, main, file];
  const tap = new Tap(child);
  tap.patch();
  let definition;
  try {
    definition = definitionIn(child.sdk, await how.load(file), file);
  } catch (error) {
    await child.fail(error);
    return;
  }
  child.enter('');
  watchConnect(child);
  standIn(child.sdk);
  watchCrashes(child);
  if (inspector.url()) child.send('debugging', { attached: true });
  const swapper = new Swapper(child, tap, definition);
  await swapper.patch(how);
  child.definition = watched(child, definition, tap, swapper, fs.readFileSync(main, 'utf8').includes('shutdownRequestAck'));
  // The job main reads its argument when it is imported; the agent's code sees its own file there.
  process.argv = [process.execPath, main, how.definition];
  await how.importMain(MAIN);
  process.argv = [process.execPath, main, file];
}

function watched(child, definition, tap, swapper, acknowledges) {
  let debugPort = 0;
  let hasJob = false;
  let isEnding = false;
  const own = {
    async prewarm(proc) {
      child.enter('prewarm');
      try {
        await definition.prewarm?.(proc);
      } catch (error) {
        await child.fail(error); // the SDK would exit with code 0 and report nothing
      }
      child.enter('');
      child.isReady = true;
      // Not earlier: the SDK's first listener handles one message, and Node keeps messages only while there
      // is no listener.
      process.on('message', (message) => {
        tap.receive(message);
        swapper.receive(message);
        if (message.case === 'debug_job') debugPort = message.value.port;
        if (message.case === 'startJobRequest') hasJob = true;
        if (message.case === 'shutdownRequest') isEnding = true;
        if (message.case === 'shutdownRequest' && !acknowledges) {
          child.send('shutdown_ack'); // SDKs before 1.8 send no acknowledgement
          if (!hasJob) child.send('shutting_down');
        }
      });
    },
    async entry(ctx) {
      if (debugPort) await waitForDebugger(child, debugPort, () => isEnding);
      if (debugPort && isEnding) return undefined;
      child.send('entry_started', { at: Date.now() / 1000 });
      watchRejections(child);
      const entry = definition.entry; // called without `this`, as the SDK does
      try {
        return await swapper.inContext(() => entry(ctx));
      } catch (error) {
        crashed(child, error);
        throw error;
      }
    },
  };
  // The rest (onSessionEnd, and what later versions add) is found through the prototype.
  return Object.create(
    definition,
    Object.fromEntries(
      Object.entries(own).map(([name, value]) => [name, { value, writable: true, enumerable: true, configurable: true }]),
    ),
  );
}

/**
 * Block until a debugger is attached; its first stop is here, before the entry function. A shutdown ends the
 * wait too: see `resume` in stacks.mjs.
 */
async function waitForDebugger(child, port, isEnding) {
  if (!inspector.url()) inspector.open(port, '127.0.0.1', false);
  if (!inspector.url()) {
    console.error(`--debug: port ${port} is not available; the job runs without a debugger`);
    return;
  }
  console.error(`waiting for a debugger on 127.0.0.1:${port} (pid ${process.pid})`);
  child.send('debugging', { attached: true }); // from now on no timeout counts
  await new Promise((sent) => setImmediate(sent));
  inspector.waitForDebugger();
  await new Promise((read) => setTimeout(read, READ_MS)); // the shutdown waits in the channel
  if (isEnding()) {
    child.send('debugging', { attached: false });
    return;
  }
  // eslint-disable-next-line no-debugger
  debugger;
}

function crashed(child, error) {
  const { error: text, traceback } = describeNow(error, child);
  child.send('job_crashed', { error: text, traceback });
}

/** Report an uncaught error, which ends the process after Node has printed it. */
function watchCrashes(child) {
  process.on('uncaughtExceptionMonitor', (error) => crashed(child, error));
}

/**
 * Warn of rejections that the project's code left unhandled: the SDK logs them at level debug, and the job goes on.
 * Without a listener of the SDK, Node ends the process, and a listener of ours would keep it from that.
 */
function watchRejections(child) {
  if (process.listenerCount('unhandledRejection') === 0) return;
  process.on('unhandledRejection', (reason) => {
    const { error, file, line } = describeNow(reason, child);
    if (file) child.sdk.log().warn(`unhandled promise rejection: ${error} (${path.basename(file)}:${line})`);
  });
}

function watchConnect(child) {
  const prototype = child.sdk.JobContext.prototype;
  const connect = prototype.connect;
  let reported = false;
  prototype.connect = async function (...args) {
    const result = await connect.apply(this, args);
    if (!reported) {
      reported = true;
      child.send('job_connected', { at: Date.now() / 1000 });
    }
    return result;
  };
}

module.exports = { run };
