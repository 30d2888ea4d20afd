// Inspects the main thread while it is blocked: the thread of the hooks uses the inspector, in process, without
// a port. `stacks` returns the main thread's stack, `resume` ends its wait for a debugger.
import fs from 'node:fs';
import inspector from 'node:inspector';
import { SourceMap } from 'node:module';
import net from 'node:net';
import { fileURLToPath } from 'node:url';

const IDLE_AFTER_MS = 600; // a loop that runs JavaScript pauses at once, but later on a busy machine
const LIMIT_MS = 900; // for the inspector to list the scripts; agent-tui waits for a second
const IDLE = 'Thread MainThread:\n    (no JavaScript runs: the event loop waits)\n';
const BUSY = 'Thread MainThread:\n    (not known: it did not pause)\n';
const WOKEN = /\(node:|\/loop_monitor\.c?js:/; // frames of a loop that was woken only for this, or by the SDK's timer

/** Handle the lines on the descriptor. */
export function answer(fd) {
  const socket = new net.Socket({ fd, readable: true, writable: true });
  socket.on('error', () => {});
  socket.on('data', (data) => {
    if (data.includes('resume')) resume();
    if (data.includes('stacks')) {
      stack((text) => socket.write(`${JSON.stringify({ case: 'stacks', value: { text } })}\n`));
    }
  });
  socket.unref();
}

/** End a wait for a debugger; do nothing if there is none, or if a debugger has stopped the code. */
function resume() {
  const session = new inspector.Session();
  try {
    session.connectToMainThread();
  } catch {
    return; // Node before 20.11
  }
  session.post('Runtime.runIfWaitingForDebugger', () => session.disconnect());
}

function stack(done) {
  const session = new inspector.Session();
  const scripts = new Map();
  let timer = null;
  const finish = (text) => {
    if (timer === null) return;
    clearTimeout(timer);
    timer = null;
    // An open session would keep the process from exiting.
    session.post('Debugger.disable');
    session.disconnect();
    done(text);
  };
  const giveUp = () => finish(runs() ? BUSY : IDLE);
  try {
    session.connectToMainThread();
  } catch (error) {
    done(`Thread MainThread:\n    (not known: ${error.message})\n`); // Node before 20.11
    return;
  }
  timer = setTimeout(giveUp, LIMIT_MS);
  session.on('Debugger.scriptParsed', ({ params }) => scripts.set(params.scriptId, params));
  session.on('Debugger.paused', ({ params }) => {
    let text;
    try {
      const lines = params.callFrames.map((frame) => line(frame, scripts));
      const isIdle = lines.every((each) => WOKEN.test(each));
      text = isIdle ? IDLE : `Thread MainThread:\n${lines.join('')}`;
    } catch (error) {
      text = `Thread MainThread:\n    (not known: ${error.message})\n`;
    }
    session.post('Debugger.resume');
    finish(text);
  });
  session.post('Debugger.enable', () => {
    if (timer === null) return;
    clearTimeout(timer);
    timer = setTimeout(giveUp, IDLE_AFTER_MS);
    session.post('Debugger.pause');
  });
}

/** Whether the main thread has or waits for the CPU; unknown without /proc. */
function runs() {
  try {
    const stat = fs.readFileSync(`/proc/self/task/${process.pid}/stat`, 'utf8');
    return stat.slice(stat.lastIndexOf(')')).startsWith(') R');
  } catch {
    return false;
  }
}

function line({ functionName, location }, scripts) {
  const script = scripts.get(location.scriptId);
  const place = original(location, script);
  const url = script?.url ?? '';
  const file = url.startsWith('file:') ? fileURLToPath(url.split('?')[0]) : url;
  return `    at ${functionName || '<anonymous>'} (${file}:${place.line + 1}:${place.column + 1})\n`;
}

/** Return the place in the source as written, if tsx transformed it. Lines and columns from 0. */
function original({ lineNumber, columnNumber }, script) {
  const found = /^data:application\/json[^,]*;base64,(.*)$/s.exec(script?.sourceMapURL ?? '');
  if (found) {
    try {
      const map = new SourceMap(JSON.parse(Buffer.from(found[1], 'base64').toString()));
      const entry = map.findEntry(lineNumber, columnNumber);
      if (entry.originalLine !== undefined) return { line: entry.originalLine, column: entry.originalColumn };
    } catch {
      // falls back to the place in the transformed source
    }
  }
  return { line: lineNumber, column: columnNumber ?? 0 };
}
