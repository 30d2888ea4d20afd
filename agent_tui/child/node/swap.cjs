// Swaps the code of a job's running sessions, in place: their agents get the classes, tools, and instructions
// of another generation (conversation.md §4.4). History, properties, and audio are not touched.
'use strict';
const { AsyncLocalStorage } = require('node:async_hooks');
const path = require('node:path');
const { definitionIn } = require('./child.cjs');
const { describe } = require('./describe.cjs');
const { ALL, Agents, METHODS, NONE, classOf, textOf } = require('./swap_agents.cjs');
const { CLASSES, Table } = require('./swap_modules.cjs');
const { classText, functionNotes, startNotes, unchangedState, usedText } = require('./swap_text.cjs');

const MOST_NOTES = 20;
const MANY_MODULES = 500; // versions of modules that Node keeps; a warning says when to restart the job

class Swapper {
  #newest = 0; // the newest generation that was requested
  #number = 0; // of the last swap
  #table = null; // the modules in use; null for those that the process started with
  #context = (run) => run(); // the job's context, which constructors of agents may ask for
  #last = Promise.resolve();
  #wake = () => {};
  #running = new WeakMap(); // the names of the tools that run, by call, by session
  #versions = 0; // of modules that have run

  constructor(child, tap, definition) {
    this.child = child;
    this.tap = tap;
    this.file = child.it.file;
    this.definition = definition;
    this.agents = new Agents(child.sdk);
    tap.onClose = () => this.#wake();
  }

  /** Follow agents and tools. Call this before a session starts. */
  async patch(how) {
    if (!this.child.sdk.voice?.AgentSession?.prototype._updateActivity) return;
    globalThis[CLASSES] = (file, number, classes) => this.agents.report(file, number, classes);
    const swapper = this;
    const prototype = this.child.sdk.voice.AgentSession.prototype;
    const { _updateActivity } = prototype;
    prototype._updateActivity = function (agent, ...rest) {
      swapper.agents.note(agent);
      if (!swapper.#table) return _updateActivity.call(this, agent, ...rest);
      // Older code built it, such as the rest of an entry function.
      return swapper.#adopt(agent).then(() => _updateActivity.call(this, agent, ...rest));
    };
    try {
      const { ToolExecutor } = await how.importSdk('voice/tool_executor');
      const { execute } = ToolExecutor.prototype;
      ToolExecutor.prototype.execute = async function (call) {
        const ended = swapper.#started(call?.runCtx);
        try {
          return await execute.call(this, call);
        } finally {
          ended();
        }
      };
    } catch (error) {
      this.child.sdk.log().warn(`agent-tui cannot tell which tools run: ${textOf(error)}`);
    }
  }

  /** Run `entry` as the job's entry function; constructors of agents run in the same context later. */
  inContext(entry) {
    this.#context = AsyncLocalStorage.snapshot();
    return entry();
  }

  /** Swap to the code that the host sent. */
  receive({ case: name, value }) {
    if (name === 'shutdownRequest') this.#end();
    if (name !== 'swap_code') return;
    const { generation } = value;
    const sources = new Map(Object.entries(value.sources).map(([file, text]) => [file, Buffer.from(text, 'base64').toString()]));
    this.#newest = generation;
    this.#wake();
    if (generation === 0) return; // a swap that waits was cancelled
    this.#last = this.#last.then(() => this.#context(() => this.#run(generation, sources))).catch((error) => {
      this.child.sdk.log().warn(`agent-tui cannot swap the code: ${textOf(error)}`);
    });
  }

  /** Drop a swap that waits: the job ends. */
  #end() {
    this.#newest = Infinity;
    this.#wake();
  }

  /** Note that a tool runs; the returned function notes that it has returned, or continues in the background. */
  #started(context) {
    const session = context?.session;
    if (!session) return () => {};
    const tools = this.#running.get(session) ?? new Map();
    this.#running.set(session, tools);
    tools.set(context, context.functionCall?.name ?? '');
    return () => {
      tools.delete(context);
      this.#wake();
    };
  }

  async #run(generation, sources) {
    if (!(await this.#quiet(generation))) return; // a later save replaced it, or no session is open
    const sessions = this.tap.openSessions;
    const took = { ms: 0 };
    let found;
    try {
      found = await this.#swap(generation, sources, sessions, took);
    } catch (error) {
      const notes = [await this.#why(error)];
      found = sessions.map(({ number }) => [number, NONE, notes]);
    }
    for (const [session, reached, notes] of found ?? []) {
      const shown = notes.length > MOST_NOTES ? [...notes.slice(0, MOST_NOTES), `${notes.length - MOST_NOTES} more`] : notes;
      this.child.send('swapped', { session, generation, reached, notes: shown, duration_ms: took.ms });
    }
    this.#warnOfMemory();
  }

  /** Wait until no tool runs. Return false if this swap is no longer needed. */
  async #quiet(generation) {
    let reported;
    for (;;) {
      const sessions = this.tap.openSessions;
      if (generation !== this.#newest || sessions.length === 0) return false;
      const [tool] = sessions.flatMap(({ session }) => [...(this.#running.get(session) ?? [])]);
      if (!tool) return true;
      if (reported !== tool[0]) {
        [reported] = tool;
        for (const { number } of sessions) this.child.send('swap_waits', { session: number, generation, tool: tool[1] });
      }
      await new Promise((wake) => {
        this.#wake = wake;
      });
    }
  }

  /** Run the changed modules and change all agents. Return what each session got; nothing if a later save came. */
  async #swap(generation, sources, sessions, took) {
    let started = performance.now();
    const before = this.#table;
    const { modules } = this.child;
    const { files, aliases } = await modules.loaded();
    const original = (file) => modules.source(file);
    const known = new Set([...modules.snapshotFiles, ...files]);
    const table = new Table((this.#number += 1), sources, before, { original, files: known, edges: aliases });
    if (table.changed.size === 0) return sessions.map(({ number }) => [number, ALL, []]);
    await modules.add(table);
    let { definition } = this;
    if (table.changed.has(this.file)) definition = definitionIn(this.child.sdk, await modules.load(this.file, table), this.file);
    await this.#runModulesOfAgents(table, known);
    this.#versions += table.changed.size;
    took.ms = performance.now() - started;
    if (!(await this.#quiet(generation))) return undefined;
    started = performance.now();
    const changes = this.agents.live.map((agent) => this.#change(table, agent, known)).filter(Boolean);
    await this.agents.apply(changes);
    this.#table = table;
    this.agents.keepOnly(table.tags);
    took.ms += performance.now() - started;
    const notes = [...changes.flatMap((each) => each.notes), ...this.#notes(table, before, definition, files)];
    return sessions.map((each) => [
      each.number,
      reachedBy(each.session, changes),
      [...new Set([...notes, ...this.#instances(table, each.session, known)])],
    ]);
  }

  /** Run the changed modules with classes of live agents that the agent's file has not imported. */
  async #runModulesOfAgents(table, known) {
    for (const agent of this.agents.live) {
      const place = this.#placeOf(agent, known);
      const number = place && table.tags.get(place.file);
      if (number && !this.agents.classesOf(place.file, number)) await this.child.modules.load(place.file, table);
    }
  }

  #placeOf(agent, known) {
    return this.agents.placeOf(classOf(agent), known, (file) => this.child.modules.source(file));
  }

  /** Return the change of an agent whose class has another version; nothing for other agents. */
  #change(table, agent, known) {
    const cls = classOf(agent);
    const place = this.#placeOf(agent, known);
    if (!place) {
      const { Agent, AgentTask } = this.child.sdk.voice;
      if (cls !== Agent && cls !== AgentTask && !/^Agent(Task)?V2$/.test(cls.name)) return undefined;
      return this.agents.change(agent, cls, cls.name, `agent ${agent.id} has no class: it keeps its code`);
    }
    const { file, name } = place;
    const number = table.tags.get(file) ?? 0;
    if (number === place.number) return undefined;
    const next = this.agents.classesOf(file, number)?.[name];
    if (next === cls) return undefined;
    if (typeof next === 'function') return this.agents.change(agent, next, name, '');
    const where = classText(table.content(file) ?? '', name) ? 'is defined in a function' : `is no longer in ${this.#shown(file)}`;
    return this.agents.change(agent, cls, name, `class ${name} ${where}: its agent keeps its code`);
  }

  /** Change an agent that an older version of the code built. */
  async #adopt(agent) {
    try {
      const table = this.#table;
      const { modules } = this.child;
      const known = new Set(modules.snapshotFiles);
      const place = this.#placeOf(agent, known);
      const number = place && table.tags.get(place.file);
      if (!number || number === place.number) return;
      if (!this.agents.classesOf(place.file, number)) await modules.load(place.file, table);
      const change = this.#change(table, agent, known);
      if (change) await this.agents.apply([change]);
    } catch (error) {
      this.child.sdk.log().warn(`agent-tui cannot give a new ${classOf(agent).name} the saved code: ${textOf(error)}`);
    }
  }

  // -- notes ----------------------------------------------------------------------------------------------

  /** Return what no session of the job gets: code that has run already, and values of modules. */
  #notes(table, before, definition, files) {
    const notes = [];
    const now = table.content(this.file) ?? '';
    for (const name of ['entry', 'prewarm']) {
      notes.push(...functionNotes(name, this.definition[name], definition[name], now, this.#shown(this.file)));
    }
    for (const [file, text] of table.sources) {
      const old = this.child.modules.source(file);
      if (old !== undefined && !file.endsWith('.json')) notes.push(...startNotes(old, text, this.#shown(file)));
    }
    for (const file of table.changed) {
      const old = before ? before.content(file) : this.child.modules.source(file);
      const text = table.content(file);
      if (old === undefined || text === undefined || file.endsWith('.json') || !files.includes(file)) continue;
      for (const { name, line } of unchangedState(old, text)) notes.push(`${this.#shown(file)}:${line} ${name} was re-created`);
    }
    return notes;
  }

  /** Return which objects of a session are still instances of a class that changed. */
  #instances(table, session, known) {
    const notes = [];
    for (const what of ['userData', 'llm', 'stt', 'tts', 'vad']) {
      const held = session[`_${what}`] ?? (what === 'userData' ? undefined : session[what]);
      const cls = held && Object.getPrototypeOf(held)?.constructor;
      if (typeof cls !== 'function' || cls === Object) continue;
      const place = this.agents.placeOf(cls, known, (file) => this.child.modules.source(file));
      if (!place || !table.tags.has(place.file)) continue;
      const old = usedText(this.child.modules.source(place.file) ?? '', place.name);
      if (old !== usedText(table.content(place.file) ?? '', place.name)) {
        notes.push(`${what} of the session is an instance of the earlier class ${place.name}`);
      }
    }
    return notes;
  }

  #shown(file) {
    const folder = path.dirname(this.file) + path.sep;
    return file.startsWith(folder) ? file.slice(folder.length) : file;
  }

  async #why(error) {
    const { error: text, file, line } = await describe(error, this.child);
    return `${line ? `${this.#shown(file)}:${line} ` : ''}${text}: the session keeps its code`;
  }

  #warnOfMemory() {
    if (this.#versions < MANY_MODULES) return;
    this.child.sdk.log().warn(
      `${this.#versions} older versions of modules are in memory, because Node keeps each module that has run; restart the job (R) to free it`,
    );
    this.#versions = 0;
  }
}

/** Return how much of the new code a session got. */
function reachedBy(session, changes) {
  const own = changes.filter(({ agent }) => agent._agentActivity?.agentSession === session);
  if (own.some(({ agent, reached }) => agent === session.currentAgent && reached === NONE)) return NONE;
  return own.every(({ reached }) => reached === ALL) ? ALL : METHODS;
}

module.exports = { Swapper };
