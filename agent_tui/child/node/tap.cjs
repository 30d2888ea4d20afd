// The tap: reports what happens in the sessions of a job to the host, and passes typed turns to them.
//
// The tap attaches a `SessionHost` of the SDK to each `AgentSession`. The SDK itself attaches another one, for
// the room (conversation.md §2). The tap's messages are those of the Python children, as protobuf's JSON.
'use strict';
const { Readable } = require('node:stream');

const { describeFailure } = require('./failures.cjs');

const DELTA_MS = 20; // for which the text of a reply is collected before it is sent
const MAX_REASON = 4096;
const TOOL_FAILED = 'exception occurred while executing tool'; // the SDK's log line; the LLM gets another text

/** The sessions of one job, numbered from 1 in the order in which they start. */
class Tap {
  constructor(child) {
    this.child = child;
    this.voice = child.sdk.voice;
    this.isOn = false; // whether the host follows the job's sessions
    this.textOnly = false; // whether sessions run without audio
    this.sessions = [];
    this.open = new WeakMap();
    this.toolErrors = null; // what tools raised, by name, until their results are sent; null before the first session
    this.onClose = () => {}; // called when a session has closed
  }

  /** Return the sessions that have started and not closed. */
  get openSessions() {
    return this.sessions.filter((each) => each.held === null && !each.isClosed);
  }

  /** Patch `AgentSession`. Call this before the agent's file is loaded. SDKs without `SessionHost` stay as they are. */
  patch() {
    if (!this.voice?.SessionHost || !this.voice.SessionTransport) return;
    const tap = this;
    const prototype = this.voice.AgentSession.prototype;
    const { start } = prototype;
    prototype.start = async function (options, ...more) {
      const attached = tap.attach(this);
      try {
        await start.call(this, attached ? tap.startOptions(this, options) : options, ...more);
      } catch (error) {
        attached?.close('error', textOf(error));
        throw error;
      }
      try {
        attached?.started();
      } catch (error) {
        tap.warn(attached.number, error);
      }
    };
    const textOnly = Object.getOwnPropertyDescriptor(prototype, '_textOnly'); // since SDK 1.6
    if (!textOnly?.get) return;
    const get = function () {
      return tap.textOnly || textOnly.get.call(this);
    };
    Object.defineProperty(prototype, '_textOnly', { ...textOnly, get });
  }

  /** Handle a message of the host, if it is for the tap. */
  receive({ case: name, value }) {
    if (name === 'follow_sessions') {
      this.isOn = true;
      this.textOnly = value.text_only;
    }
    if (name === 'session_request') this.sessions[value.session - 1]?.request(value.data);
    if (name === 'interrupt_session') this.sessions[value.session - 1]?.interrupt();
  }

  /** Attach to a session that is about to start. Return nothing if that fails, or if the session is open already. */
  attach(session) {
    if (!this.isOn || this.open.has(session)) return undefined;
    const number = this.sessions.length + 1;
    try {
      if (this.toolErrors === null) this.noteToolErrors();
      const attached = new TappedSession(this, number, session);
      this.sessions.push(attached);
      this.open.set(session, attached);
      return attached;
    } catch (error) {
      this.warn(number, error);
      return undefined;
    }
  }

  /** Note the errors of tools from the SDK's log, because nothing else has their text. */
  noteToolErrors() {
    const errors = new Map();
    this.toolErrors = errors;
    const logger = this.child.sdk.log();
    const { error } = logger;
    logger.error = function (fields, text, ...more) {
      if (text === TOOL_FAILED && fields?.error !== undefined) {
        const name = String(fields.function);
        errors.set(name, [...(errors.get(name) ?? []), String(fields.error).slice(0, MAX_REASON)]);
      }
      return error.call(this, fields, text, ...more);
    };
  }

  /** Add to the results of tools what these raised. Errors whose results were never sent are older. */
  addToolErrors(outputs) {
    for (const output of outputs.filter((each) => each.is_error).reverse()) {
      const error = this.toolErrors.get(output.name)?.pop();
      if (error !== undefined && error !== output.output) output.error = error;
    }
    for (const { name } of outputs) this.toolErrors.delete(name);
  }

  /** Return the options of `start`, which turn audio off if the tap's sessions run without it. */
  startOptions(session, options) {
    if (!this.textOnly || session._textOnly !== undefined) return options;
    const inputOptions = { ...options?.inputOptions, audioEnabled: false };
    const outputOptions = { ...options?.outputOptions, audioEnabled: false };
    return { ...options, inputOptions, outputOptions };
  }

  warn(number, error) {
    this.child.sdk.log().warn(`agent-tui cannot show session ${number}: ${textOf(error)}`);
  }
}

/** One session, and the `SessionHost` that the tap attached to it. */
class TappedSession {
  constructor(tap, number, session) {
    this.tap = tap;
    this.number = number;
    this.session = session;
    this.held = []; // what is sent once the start of the session has been reported; null from then on
    this.listening = null; // a state that is reported after the greeting, unless another one comes first
    this.hasFailed = false;
    this.isClosed = false;
    this.delta = '';
    this.failures = []; // the errors whose events have not been sent yet: the SDK's host sends only a label
    this.incoming = new Readable({ objectMode: true, read() {} });
    this.Message = null; // the class of the protocol's messages
    this.onError = ({ error }) => this.failures.push(describeFailure(error));
    this.onClose = ({ reason, error }) => this.close(String(reason ?? ''), describeError(error));
    session.on('error', this.onError); // before the host's own listener
    this.host = new tap.voice.SessionHost(this.transport());
    this.host.registerSession(session);
    this.host.start().catch((error) => tap.warn(number, error));
    session.on('close', this.onClose);
  }

  /** Return whether a realtime model takes the place of STT, LLM, and TTS. */
  isRealtime() {
    const RealtimeModel = this.tap.child.sdk.llm?.RealtimeModel;
    const models = [this.session.currentAgent?.llm, this.session.llm];
    return RealtimeModel !== undefined && models.some((model) => model instanceof RealtimeModel);
  }

  /** Report that the session started, and follow the text of its replies from now on. */
  started() {
    if (this.isClosed || this.hasFailed) return;
    this.tap.child.send('session_started', {
      session: this.number,
      agent: String(this.session.currentAgent?.id ?? ''),
      text_only: this.session._textOnly ?? this.tap.textOnly,
      realtime: this.isRealtime(),
    });
    this.delayListening();
    const { held } = this;
    this.held = null;
    for (const data of held) this.send('session_data', { data });
    this.followText();
  }

  /**
   * Report the state "listening", with which the SDK ends the start of each session, only after the greeting.
   * Otherwise the first typed turn would cut off a greeting whose text the LLM is still generating.
   */
  delayListening() {
    const greeting = (this.session._activity ?? this.session.activity)?.currentSpeech;
    const place = this.held.findLastIndex((data) => data.event?.agent_state_changed);
    if (!greeting || greeting.done() || this.session.agentState !== 'listening' || place < 0) return;
    [this.listening] = this.held.splice(place, 1);
    greeting.addDoneCallback(() => {
      if (this.listening && !this.isClosed) this.send('session_data', { data: this.listening });
    });
  }

  /** Report that the session ended. Further calls have no effect. */
  close(reason, error = '') {
    if (this.isClosed) return;
    this.isClosed = true;
    this.flush();
    this.send('session_closed', { reason: reason.slice(0, MAX_REASON), error: error.slice(0, MAX_REASON) });
    this.tap.open.delete(this.session);
    this.session.off('error', this.onError);
    this.session.off('close', this.onClose);
    this.host.close().catch(() => {});
    this.tap.onClose();
  }

  interrupt() {
    try {
      this.session.interrupt({ force: true });
    } catch {
      // nothing to interrupt
    }
  }

  /** Pass a request to the SDK's host, which answers it. */
  request(data) {
    if (this.isClosed) return; // the stream has ended, too
    try {
      this.incoming.push(this.Message.fromJson(data, { ignoreUnknownFields: true }));
    } catch (error) {
      const response = { request_id: data.request?.request_id ?? '', error: textOf(error) };
      this.send('session_data', { data: { response } });
    }
  }

  send(name, value) {
    this.tap.child.send(name, { session: this.number, ...value });
  }

  /** Return what carries the messages of the SDK on the process's channel. Sending never waits. */
  transport() {
    const tapped = this;
    class ChannelTransport extends this.tap.voice.SessionTransport {
      async start() {} // the channel is open already

      async sendMessage(message) {
        tapped.forward(message);
      }

      async close() {
        tapped.incoming.push(null);
      }

      [Symbol.asyncIterator]() {
        return tapped.incoming[Symbol.asyncIterator]();
      }
    }
    return new ChannelTransport();
  }

  forward(message) {
    if (this.hasFailed || this.isClosed) return;
    this.Message ??= message.constructor;
    let data;
    try {
      data = plain(message.toJson({ useProtoFieldName: true }));
    } catch (error) {
      this.hasFailed = this.held !== null;
      this.tap.warn(this.number, error);
      return;
    }
    if (data.event?.agent_state_changed) this.listening = null;
    if (data.event?.error) data.event.error = this.failures.shift() ?? data.event.error;
    this.tap.addToolErrors(data.event?.function_tools_executed?.function_call_outputs ?? []);
    if (this.held) this.held.push(data);
    else this.send('session_data', { data });
  }

  // -- what the SDK's host does not send ----------------------------------------------------------------

  /** Report the text of replies as it comes to the session's text output. */
  followText() {
    const tapped = this;
    const { output } = this.session;
    const sink = output.transcription ?? { async captureText() {}, flush() {}, onAttached() {}, onDetached() {} };
    const { captureText, flush } = sink;
    sink.captureText = function (text, ...more) {
      tapped.add(typeof text === 'string' ? text : (text?.text ?? ''));
      return captureText.call(this, text, ...more);
    };
    sink.flush = function (...more) {
      tapped.flush();
      return flush.call(this, ...more);
    };
    output.transcription = sink;
  }

  add(text) {
    if (this.isClosed) return; // the output may belong to a later session
    if (!this.delta) setTimeout(() => this.flush(), DELTA_MS);
    this.delta += text;
  }

  flush() {
    const text = this.delta;
    this.delta = '';
    if (text) this.tap.child.offer('session_delta', { session: this.number, text });
  }
}

/** Return protobuf's JSON with the outputs of tools as Python has them: the SDK quotes those that are strings. */
function plain(value) {
  if (Array.isArray(value)) return value.map(plain);
  if (value === null || typeof value !== 'object') return value;
  const copy = Object.fromEntries(Object.entries(value).map(([name, each]) => [name, plain(each)]));
  if ('call_id' in copy && 'output' in copy && !copy.is_error) copy.output = unquoted(copy.output);
  return copy;
}

function unquoted(output) {
  try {
    const value = JSON.parse(output);
    return typeof value === 'string' ? value : output;
  } catch {
    return output;
  }
}

/** Return the text of a component's error, which the SDK wraps: `openai.LLM: no such model`. */
function describeError(error) {
  if (error === null || error === undefined) return '';
  const text = textOf(error.error ?? error);
  return error.label ? `${error.label}: ${text}` : text;
}

function textOf(error) {
  return error instanceof Error ? error.message || error.name : String(error);
}

module.exports = { Tap };
