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

const OURS = __dirname + path.sep;
const PACKAGES = `${path.sep}node_modules${path.sep}`;

class Modules {
  #snapshot = new Map();
  #missing = new Set();
  #required = new Map(); // files that CommonJS loaded, in order
  #bare = new Map(); // packages that the project's CommonJS code requires: path by specifier
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
    const { files, packages } = await this.#ask('loaded');
    return {
      files: [...new Set([...files, ...this.#required.keys()])],
      packages: [...new Set([...packages, ...this.#bare.values()])],
    };
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
        const source = this.#snapshot.get(file);
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
        const source = this.#snapshot.get(filename);
        if (source !== undefined) return reading(filename, source, () => load(module, filename));
        if (isProjects(filename)) checkRegular(filename);
        return load(module, filename);
      };
    }
    const resolve = Module._resolveFilename;
    const bare = this.#bare;
    const isKept = (file) => this.#snapshot.has(file);
    // A file that is in the snapshot and may be gone from the disk.
    const ofSnapshot = (request, importer) => {
      if (!/^\.{1,2}\/|^\//.test(request)) return undefined;
      const base = path.resolve(path.dirname(importer), request);
      const names = [base, base.replace(/\.([cm]?)js$/, '.$1ts'), ...EXTENSIONS.map((each) => base + each)];
      return [...names, `${base}/index.js`, `${base}/index.ts`].find(isKept);
    };
    const isLater = (file) => !isKept(file) && isProjects(file) && this.#missing.has(stem(file));
    Module._resolveFilename = function (request, parent, ...rest) {
      let found;
      try {
        found = resolve.call(this, request, parent, ...rest);
      } catch (error) {
        found = parent?.filename && isProjects(parent.filename) && ofSnapshot(request, parent.filename);
        if (!found) throw error;
      }
      if (isProjects(found) && !isKept(found) && parent?.filename && isProjects(parent.filename)) {
        found = ofSnapshot(request, parent.filename) ?? found; // the name may be a link elsewhere by now
      }
      if (isLater(found)) {
        throw Object.assign(new Error(`Cannot find module '${request}': it did not exist when this code was loaded`), {
          code: 'MODULE_NOT_FOUND',
          requireStack: parent?.filename ? [parent.filename] : [],
        });
      }
      if (parent?.filename && isProjects(parent.filename) && path.isAbsolute(found) && !isProjects(found)) {
        bare.set(request, found);
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
