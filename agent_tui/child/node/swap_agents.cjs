// The agents of a job, and what it takes to give them another version of their classes.
//
// The prototype of a live agent is replaced, so its properties and history stay (conversation.md §4.4). What
// its constructor passes to the SDK (tools, instructions) comes from running it again on the same object.
'use strict';
const { takesArguments } = require('./swap_text.cjs');

const ALL = 'all';
const METHODS = 'methods'; // all but tools and instructions
const NONE = 'none';

/** All agents that had a session, and where their classes come from. */
class Agents {
  #known = []; // weak references
  #built = new WeakMap(); // what each agent's constructor set, by agent
  #places = new WeakMap(); // {file, name, number} by class
  #classes = new Map(); // by file and number

  constructor(sdk) {
    this.sdk = sdk;
    this.bases = [sdk.voice.Agent, sdk.voice.AgentTask].filter(Boolean);
  }

  /** Remember an agent that is about to get a session. */
  note(agent) {
    if (this.#built.has(agent)) return;
    this.#built.set(agent, { tools: agent._toolCtx.tools.map((each) => each.id), instructions: agent.instructions });
    this.#known = this.#known.filter((each) => each.deref() !== undefined);
    this.#known.push(new WeakRef(agent));
  }

  get live() {
    return this.#known.map((each) => each.deref()).filter((each) => each !== undefined);
  }

  /** Receive the classes of a version of a module. */
  report(file, number, classes) {
    this.#classes.set(`${file}?${number}`, classes);
    for (const [name, cls] of Object.entries(classes)) {
      if (typeof cls === 'function' && !this.#places.has(cls)) this.#places.set(cls, { file, name, number });
    }
  }

  /** Return the classes of a version of a module; undefined if it has not run. */
  classesOf(file, number) {
    return this.#classes.get(`${file}?${number}`);
  }

  /** Forget versions of modules that no table uses. */
  keepOnly(tags) {
    const used = new Set([...tags].map(([file, number]) => `${file}?${number}`));
    for (const key of this.#classes.keys()) if (!used.has(key)) this.#classes.delete(key);
  }

  /**
   * Return where a class comes from: file, name, and the number of the swap; undefined for a class that is not
   * the project's. Classes with which the job started are found by their text.
   */
  placeOf(cls, files, original) {
    const known = this.#places.get(cls);
    if (known) return known;
    if (!/^[\w$]+$/.test(cls.name)) return undefined;
    const name = cls.name.replace(/\$/g, '\\$&');
    const declared = new RegExp(`\\bclass\\s+${name}(?![\\w$])|(?<![\\w$])${name}[^=\\n]*=\\s*class\\b`);
    const declaring = [...files].filter((file) => declared.test(original(file) ?? ''));
    const exact = declaring.filter((file) => original(file).includes(String(cls)));
    const [file] = exact.length > 0 ? exact : declaring;
    if (file === undefined) return undefined;
    const place = { file, name: cls.name, number: 0 };
    this.#places.set(cls, place);
    return place;
  }

  isTask(cls) {
    const { AgentTask } = this.sdk.voice;
    return AgentTask !== undefined && cls.prototype instanceof AgentTask;
  }

  /** Return the change that gives an agent a class. */
  change(agent, next, name, note) {
    const change = { agent, next, name, reached: ALL, notes: [], built: this.#built.get(agent), options: null };
    if (note) return Object.assign(change, { reached: NONE, notes: [note] });
    if (!(next.prototype instanceof this.sdk.voice.Agent)) {
      return Object.assign(change, { reached: NONE, notes: [`class ${name} is no longer an Agent: its agent keeps its code`] });
    }
    if (this.isTask(next) !== this.isTask(classOf(agent))) {
      const now = this.isTask(next) ? 'now' : 'no longer';
      return Object.assign(change, { reached: NONE, notes: [`class ${name} is ${now} an AgentTask: its agent keeps its code`] });
    }
    if (takesArguments(next, this.bases)) {
      change.reached = METHODS;
      change.notes.push(`the constructor of ${name} has parameters: instructions and tools stay as they were`);
    }
    return change;
  }

  /** Change the agents. If one fails in an unexpected way, change all back and throw its error. */
  async apply(changes) {
    const done = [];
    try {
      for (const change of changes.filter((each) => each.reached !== NONE)) {
        change.before = {
          prototype: Object.getPrototypeOf(change.agent),
          properties: Object.getOwnPropertyDescriptors(change.agent),
          tools: change.agent._toolCtx.tools,
          instructions: change.agent.instructions,
        };
        this.#replaceClass(change);
        if (change.reached !== NONE) done.push(change);
      }
      for (const change of done) await this.#takeOver(change);
    } catch (error) {
      for (const change of done) await undo(change);
      throw error;
    }
    for (const { agent, options, given } of done) if (options) this.#built.set(agent, given);
  }

  #replaceClass(change) {
    const { agent, next, name } = change;
    try {
      Object.setPrototypeOf(agent, next.prototype);
    } catch (error) {
      change.reached = NONE;
      change.notes = [`class ${name}: ${textOf(error)}: its agent keeps its code`];
      return;
    }
    if (change.reached === METHODS) return;
    try {
      change.options = optionsOf(agent, next, this.bases);
      change.given = { tools: this.#context(change.options.tools).tools.map((each) => each.id), instructions: change.options.instructions };
    } catch (error) {
      change.options = null;
      change.reached = METHODS;
      change.notes.push(`new ${name}() raised ${textOf(error)}: instructions and tools stay as they were`);
    }
  }

  #context(tools) {
    const { ToolContext } = this.sdk.llm;
    return tools instanceof ToolContext ? tools : new ToolContext(tools ?? []);
  }

  /** Give the agent the tools and instructions of its new class. */
  async #takeOver({ agent, options, built }) {
    if (!options) return;
    const current = agent._toolCtx.tools;
    const wanted = new Map(this.#context(options.tools).tools.map((each) => [each.id, each]));
    for (const each of current) if (isToolset(each) && wanted.has(each.id)) wanted.set(each.id, each); // it may hold a connection
    const ids = current.map((each) => each.id);
    let tools = [...wanted.values()];
    if (!same(ids, built.tools)) {
      // The agent has changed its tools since, and keeps what it changed.
      const isGone = (id) => built.tools.includes(id) && !wanted.has(id);
      const isNew = (id) => !ids.includes(id) && !built.tools.includes(id);
      tools = current.filter((each) => !isGone(each.id)).map((each) => wanted.get(each.id) ?? each);
      tools.push(...[...wanted.values()].filter((each) => isNew(each.id)));
    }
    await agent.updateTools(tools);
    if (!same(options.instructions, built.instructions)) await agent.updateInstructions(options.instructions);
  }
}

/**
 * Return what a class passes to the SDK's constructor. Its constructors run on the live agent, whose properties
 * are restored afterwards: tools refer to it as `this`, and it gets the private fields of the new class.
 */
function optionsOf(agent, cls, bases) {
  let top = cls;
  while (!bases.includes(Object.getPrototypeOf(top))) top = Object.getPrototypeOf(top);
  const base = Object.getPrototypeOf(top);
  const properties = Object.getOwnPropertyDescriptors(agent);
  let options = {};
  const standIn = Object.setPrototypeOf(function (given) {
    options = given ?? {};
    return agent;
  }, base);
  Object.setPrototypeOf(top, standIn);
  try {
    Reflect.construct(cls, []);
  } finally {
    Object.setPrototypeOf(top, base);
    Object.defineProperties(agent, properties);
  }
  return options;
}

async function undo({ agent, before }) {
  Object.setPrototypeOf(agent, before.prototype);
  await agent.updateTools(before.tools);
  if (!same(agent.instructions, before.instructions)) await agent.updateInstructions(before.instructions);
  for (const name of Reflect.ownKeys(agent)) if (!(name in before.properties)) delete agent[name];
}

function classOf(agent) {
  return Object.getPrototypeOf(agent).constructor;
}

function isToolset(tool) {
  return typeof tool.setup === 'function' && 'tools' in tool;
}

function same(one, other) {
  return one === other || JSON.stringify(one) === JSON.stringify(other);
}

function textOf(error) {
  return error instanceof Error ? `${error.name}: ${error.message}` : String(error);
}

module.exports = { ALL, Agents, METHODS, NONE, classOf, textOf };
