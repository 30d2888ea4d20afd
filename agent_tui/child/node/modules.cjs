// The project's modules as the generation has them: sources come from a snapshot, not from the disk, so that
// a job never sees part of a newer version, even in late imports. URLs and file names stay the originals.
//
// ESM goes through a loader hook, which runs in a thread (hooks.mjs); CommonJS through `Module._extensions`.
'use strict';
const fs = require('node:fs');
const Module = require('node:module');
const path = require('node:path');
const { MessageChannel } = require('node:worker_threads');
const { fileURLToPath, pathToFileURL } = require('node:url');
const { EXTENSIONS, checkRegular, stem } = require('./paths.cjs');
const { reporting, versionOf, versioned } = require('./swap_modules.cjs');

const OURS = __dirname + path.sep;
const PACKAGES = `${path.sep}node_modules${path.sep}`;

class Modules {
  #snapshot = new Map();
  #missing = new Set();
  #required = new Map(); // files that CommonJS loaded, in order
  #aliases = new Map(); // the project's files that others require by names that are no paths
  #bare = new Map(); // packages that the project's CommonJS code requires: path by specifier
  #tables = new Map(); // of swaps, by number
  #versions = new Map(); // modules that CommonJS loaded for a swap, by file and number
  #numbers = new WeakMap(); // the numbers of such modules
  #loading = new Map(); // the number of the version that is being loaded, by file
  #importing = null; // the table whose ES modules are being imported
  #port;
  #answers = new Map();
  #asked = 0;

  constructor(config) {
    this.config = config;
  }

  /** Register the hooks, then tsx's hooks, which call these for the source. */
  async install({ sdkUrl, tsx }) {
    const fd = Number(process.env.AGENT_TUI_STACKS_FD ?? 0);
    delete process.env.AGENT_TUI_STACKS_FD;
    const { port1, port2 } = new MessageChannel();
    this.#port = port1;
    port1.on('message', ({ id, value }) => {
      this.#answers.get(id)?.(value);
      this.#answers.delete(id);
    });
    port1.unref();
    Module.register('./hooks.mjs', {
      parentURL: pathToFileURL(__filename),
      data: { port: port2, sdkUrl, typescript: this.config.typescript, isEsm: this.config.esm, stacksFd: fd },
      transferList: [port2],
    });
    if (tsx && (await registersHooks(tsx))) this.#serveTsx();
    this.#installRequire();
  }

  /**
   * Serve these sources from now on: text by path, or base64 if it is not UTF-8. `missing` are modules,
   * without suffix, that the generation does not have: files saved under these names later belong to the next
   * one.
   */
  async serve(snapshot, missing) {
    for (const [file, { text, base64 }] of Object.entries(snapshot)) {
      this.#snapshot.set(file, text ?? Buffer.from(base64, 'base64').toString());
    }
    this.#missing = new Set(missing);
    await this.#ask('serve', { snapshot: this.#snapshot, missing: this.#missing });
  }

  /** In the project's imports of the SDK, replace the exports that `shim` names. */
  async replaceSdk(shim) {
    globalThis[Symbol.for('agent-tui.shim')] = shim;
    await this.#ask('shim', Object.keys(shim));
    const load = Module._load;
    const real = require.resolve(`${this.config.sdk}/dist/index.cjs`);
    let made;
    Module._load = function (request, parent, isMain) {
      if (request !== '@livekit/agents' || !parent?.filename || !isProjects(parent.filename)) {
        return load.call(this, request, parent, isMain);
      }
      if (Module._resolveFilename(request, parent) !== real) return load.call(this, request, parent, isMain);
      made ??= withOwn(load.call(this, request, parent, isMain), shim);
      return made;
    };
  }

  /** Return what was loaded so far: the project's files, and the packages that they import. */
  async loaded() {
    const { files, packages, aliases } = await this.#ask('loaded');
    for (const [file, others] of this.#aliases) aliases.set(file, new Set([...(aliases.get(file) ?? []), ...others]));
    return {
      files: [...new Set([...files, ...this.#required.keys()])],
      packages: [...new Set([...packages, ...this.#bare.values()])],
      aliases,
    };
  }

  /** Return the paths of the files in the snapshot. */
  get snapshotFiles() {
    return this.#snapshot.keys();
  }

  // -- versions of modules, for swaps ---------------------------------------------------------------------

  /** Make the modules of a table available. None of them runs yet. */
  async add(table) {
    const { number, tags, sources } = table;
    this.#tables.set(number, table);
    await this.#ask('table', { number, tags, sources });
  }

  /** Return the exports of a file as a table has it; it runs if it has not yet. */
  async load(file, table) {
    const number = table.tags.get(file);
    if (!this.isModule(file)) return { default: this.#loadVersion(file, number, undefined) };
    // Node would find the earlier versions of the CommonJS modules that these import.
    const cached = [...table.changed].filter((each) => Module._cache[each]).map((each) => [each, Module._cache[each]]);
    for (const [each] of cached) delete Module._cache[each];
    this.#importing = table;
    try {
      return await import(versioned(pathToFileURL(file).href, number));
    } finally {
      this.#importing = null;
      for (const [each, module] of cached) Module._cache[each] = module;
    }
  }

  #loadVersion(file, number, parent, load = Module._load) {
    const key = `${file}?${number}`;
    const known = this.#versions.get(key);
    if (known) return known.exports;
    const cached = Module._cache[file];
    if (parent || !this.#importing) delete Module._cache[file];
    this.#loading.set(file, number);
    try {
      return load.call(Module, file, parent, false);
    } catch (error) {
      this.#versions.delete(key);
      throw error;
    } finally {
      this.#loading.delete(file);
      if (cached) Module._cache[file] = cached;
      else delete Module._cache[file];
    }
  }

  #textOf(file, number) {
    const source = this.#tables.get(number)?.sources.get(file) ?? this.#snapshot.get(file);
    return !number || source === undefined ? source : reporting(source, file, number);
  }

  source(file) {
    return this.#snapshot.get(file);
  }

  isProjects(file) {
    return isProjects(file);
  }

  /** Whether Node treats a file as an ES module. */
  isModule(file) {
    if (file.endsWith('.mjs') || file.endsWith('.mts')) return true;
    if (file.endsWith('.cjs') || file.endsWith('.cts')) return false;
    for (let folder = path.dirname(file); ; folder = path.dirname(folder)) {
      try {
        const { type } = JSON.parse(fs.readFileSync(path.join(folder, 'package.json'), 'utf8'));
        return type === 'module' || (type === undefined && this.config.esm);
      } catch {
        if (folder === path.dirname(folder)) return this.config.esm;
      }
    }
  }

  #ask(what, value) {
    return new Promise((resolve) => {
      const id = ++this.#asked;
      this.#answers.set(id, (answer) => {
        this.#port.unref();
        resolve(answer);
      });
      this.#port.ref();
      this.#port.postMessage({ id, what, value });
    });
  }

  // In newer versions of Node, tsx uses hooks that run in this thread, and reads CommonJS files itself.
  #serveTsx() {
    Module.registerHooks({
      load: (url, context, nextLoad) => {
        const file = url.startsWith('file:') ? fileURLToPath(url.split('?')[0]) : '';
        const source = this.#textOf(file, versionOf(url));
        if (source === undefined) return nextLoad(url, context);
        return reading(file, source, () => nextLoad(url, context), { isNamed: true });
      },
    });
  }

  // Installed after tsx, so it is the outermost hook: what reads the file as a module gets the snapshot's content.
  #installRequire() {
    for (const extension of EXTENSIONS) {
      const load = Module._extensions[extension];
      if (!load) continue;
      Module._extensions[extension] = (module, filename) => {
        if (isProjects(filename)) this.#required.set(filename, true);
        const number = this.#loading.get(filename);
        if (number) {
          this.#numbers.set(module, number);
          this.#versions.set(`${filename}?${number}`, module);
        }
        const source = this.#textOf(filename, number);
        if (source !== undefined) return reading(filename, source, () => load(module, filename));
        if (isProjects(filename)) checkRegular(filename);
        return load(module, filename);
      };
    }
    const resolve = Module._resolveFilename;
    const bare = this.#bare;
    const aliases = this.#aliases;
    const tableOf = (parent) => (parent ? this.#tables.get(this.#numbers.get(parent)) : this.#importing);
    const load = Module._load;
    const modules = this;
    Module._load = function (request, parent, isMain) {
      const table = tableOf(parent);
      if (!table || Module.isBuiltin(request)) return load.call(this, request, parent, isMain);
      const file = Module._resolveFilename(request, parent, isMain);
      const number = table.tags.get(file);
      if (!number) return load.call(this, request, parent, isMain);
      return modules.#loadVersion(file, number, parent, load);
    };
    // A file that is in the snapshot and may be gone from the disk.
    const ofSnapshot = (request, importer, isKept) => {
      if (!/^\.{1,2}\/|^\//.test(request)) return undefined;
      const base = path.resolve(path.dirname(importer), request);
      const names = [base, base.replace(/\.([cm]?)js$/, '.$1ts'), ...EXTENSIONS.map((each) => base + each)];
      return [...names, `${base}/index.js`, `${base}/index.ts`].find(isKept);
    };
    const isLater = (file, isKept) => !isKept(file) && isProjects(file) && this.#missing.has(stem(file));
    Module._resolveFilename = function (request, parent, ...rest) {
      const table = tableOf(parent);
      const isKept = (file) => modules.#snapshot.has(file) || Boolean(table?.sources.has(file));
      let found;
      try {
        found = resolve.call(this, request, parent, ...rest);
      } catch (error) {
        found = parent?.filename && isProjects(parent.filename) && ofSnapshot(request, parent.filename, isKept);
        if (!found) throw error;
      }
      if (isProjects(found) && !isKept(found) && parent?.filename && isProjects(parent.filename)) {
        found = ofSnapshot(request, parent.filename, isKept) ?? found; // the name may be a link elsewhere by now
      }
      if (isLater(found, isKept)) {
        throw Object.assign(new Error(`Cannot find module '${request}': it did not exist when this code was loaded`), {
          code: 'MODULE_NOT_FOUND',
          requireStack: parent?.filename ? [parent.filename] : [],
        });
      }
      if (parent?.filename && isProjects(parent.filename) && path.isAbsolute(found) && !isProjects(found)) {
        bare.set(request, found);
      } else if (parent?.filename && isProjects(found) && !/^\.{0,2}\/|^\.{1,2}$/.test(request)) {
        aliases.set(parent.filename, (aliases.get(parent.filename) ?? new Set()).add(found));
      }
      return found;
    };
  }
}

/** Whether `register` registers hooks that run in this thread. */
async function registersHooks(register) {
  const { registerHooks } = Module;
  let called = false;
  if (registerHooks) {
    Module.registerHooks = (hooks) => {
      called = true;
      return registerHooks(hooks);
    };
  }
  try {
    await register();
  } finally {
    if (registerHooks) Module.registerHooks = registerHooks;
  }
  return called;
}

/** Whether a file belongs to the project, not to a package, Node, or agent-tui. */
function isProjects(file) {
  return path.isAbsolute(file) && !file.includes(PACKAGES) && !file.startsWith(OURS);
}

/**
 * Run `load`; its first reading of the file gets that source. `isNamed`: it may have imported `readFileSync`
 * by name.
 */
function reading(filename, source, load, { isNamed = false } = {}) {
  const read = fs.readFileSync;
  const restore = () => {
    if (fs.readFileSync !== patched) return;
    fs.readFileSync = read;
    if (isNamed) Module.syncBuiltinESMExports();
  };
  function patched(file, options) {
    const name = file instanceof URL ? fileURLToPath(file) : file;
    if (name !== filename) return read.apply(this, arguments);
    restore();
    return options === undefined || options === null ? Buffer.from(source) : source;
  }
  fs.readFileSync = patched;
  if (isNamed) Module.syncBuiltinESMExports();
  try {
    return load();
  } finally {
    restore();
  }
}

/** Return an object like a module's exports, with some of them replaced. */
function withOwn(real, own) {
  const others = Object.entries(Object.getOwnPropertyDescriptors(real)).filter(([name]) => !(name in own));
  return Object.assign(Object.defineProperties({}, Object.fromEntries(others)), own);
}

module.exports = { Modules, isProjects };
