// The loader hooks of one process, in Node's thread for them: the project's modules come from the snapshot.
import { fileURLToPath } from 'node:url';
import { checkRegular, isRegular, stem } from './paths.cjs';
import { answer } from './stacks.mjs';
import { reporting, versionOf, versioned } from './swap_modules.cjs';

const OURS = new URL('.', import.meta.url).href;
const SHIM = new URL('./sdk.mjs', import.meta.url).href;
const TYPESCRIPT = { '.js': ['.ts', '.tsx'], '.mjs': ['.mts'], '.cjs': ['.cts'], '.jsx': ['.tsx'] };

let snapshot = new Map();
let missing = new Set(); // see `serve` in modules.cjs
let sdkUrl = '';
let strips = false;
let esm = true;
let shim = null; // names that the project's imports of the SDK get from agent-tui
const files = new Set();
const packages = new Set();
const aliases = new Map(); // the project's files that others import by names that are no paths
const tables = new Map(); // of swaps, by number: see swap_modules.cjs

export function initialize({ port, sdkUrl: url, typescript, isEsm, stacksFd }) {
  esm = isEsm;
  sdkUrl = url;
  strips = typescript === 'strip';
  port.on('message', ({ id, what, value }) => {
    if (what === 'serve') ({ snapshot, missing } = value);
    if (what === 'shim') shim = value;
    if (what === 'table') tables.set(value.number, value);
    const answer = what === 'loaded' ? { files: [...files], packages: [...packages], aliases } : null;
    port.postMessage({ id, value: answer });
  });
  port.unref();
  if (stacksFd) answer(stacksFd);
}

function isProjects(url) {
  return url?.startsWith('file:') && !url.includes('/node_modules/') && !url.startsWith(OURS);
}

/** Whether a module of the snapshot is imported by its URL, as agent-tui imports the agent's file. */
function isServed(specifier) {
  return specifier.startsWith('file:') && has(tables.get(versionOf(specifier)), pathOf(specifier));
}

export async function resolve(specifier, context, nextResolve) {
  const table = tables.get(versionOf(context.parentURL));
  const found = await resolveIn(table, specifier, context, nextResolve);
  const number = table && found.url.startsWith('file:') && table.tags.get(pathOf(found.url));
  return number && !versionOf(found.url) ? { ...found, url: versioned(found.url, number) } : found;
}

async function resolveIn(table, specifier, context, nextResolve) {
  if (!isProjects(context.parentURL) && !isServed(specifier)) return nextResolve(specifier, context);
  if (/^\.{0,2}\//.test(specifier) || specifier.startsWith('file:')) {
    try {
      const found = await withTypeScript(specifier, context, nextResolve);
      if (isProjects(found.url) && has(table, pathOf(found.url))) return found;
      // What the snapshot has under this name may be something else on disk by now, such as a link elsewhere.
      return fromSnapshot(table, specifier, context) ?? withoutLater(found, specifier, context.parentURL);
    } catch (error) {
      const found = fromSnapshot(table, specifier, context);
      if (!found) throw error;
      return found;
    }
  }
  const found = await nextResolve(specifier, context);
  if (shim && found.url === sdkUrl) return { url: SHIM, format: 'module', shortCircuit: true };
  if (found.url.startsWith('file:') && !isProjects(found.url)) packages.add(found.url);
  else if (isProjects(found.url)) noteAlias(context.parentURL, found.url);
  return found;
}

function noteAlias(parentURL, url) {
  const importer = pathOf(parentURL);
  if (!aliases.has(importer)) aliases.set(importer, new Set());
  aliases.get(importer).add(pathOf(url));
}

/** Whether a file is part of the code: of the snapshot, or of the table of a swap. */
function has(table, file) {
  return snapshot.has(file) || Boolean(table?.sources.has(file));
}

/** Resolve a relative import of a file that is in the snapshot and may be gone from the disk. */
function fromSnapshot(table, specifier, { parentURL, importAttributes }) {
  let url;
  try {
    const { href } = new URL(specifier, parentURL);
    const suffix = /\.[cm]?jsx?$/.exec(href)?.[0] ?? '';
    const others = (TYPESCRIPT[suffix] ?? []).map((each) => href.slice(0, -suffix.length) + each);
    url = [href, ...others].find((each) => has(table, fileURLToPath(each)));
  } catch {
    return undefined;
  }
  return url && { url, format: formatOf(url), shortCircuit: true, importAttributes };
}

function pathOf(url) {
  return fileURLToPath(url.split('?')[0]);
}

/** Return the module that was found. Throw if it was saved later, so that the generation does not have it. */
function withoutLater(found, specifier, parentURL) {
  if (missing.size === 0 || !isProjects(found.url)) return found;
  if (!missing.has(stem(pathOf(found.url)))) return found;
  const text = `Cannot find module '${specifier}' imported from ${fileURLToPath(parentURL)}: it did not exist when this code was loaded`;
  throw Object.assign(new Error(text), { code: 'ERR_MODULE_NOT_FOUND', url: found.url });
}

function formatOf(url) {
  const suffix = /\.[^./]+$/.exec(url)?.[0];
  if (suffix === '.json') return 'json';
  const isCommonJs = ['.cjs', '.cts'].includes(suffix) || (!esm && !['.mjs', '.mts'].includes(suffix));
  const kind = isCommonJs ? 'commonjs' : 'module';
  return strips && /^\.[cm]?tsx?$/.test(suffix) ? `${kind}-typescript` : kind;
}

/** Resolve `./x.js` in a TypeScript file to `./x.ts`, as the compiler does, without tsx. */
async function withTypeScript(specifier, context, nextResolve) {
  try {
    return await nextResolve(specifier, context);
  } catch (error) {
    const suffix = /\.[cm]?jsx?$/.exec(specifier)?.[0];
    if (!strips || error.code !== 'ERR_MODULE_NOT_FOUND' || !(suffix in TYPESCRIPT)) throw error;
    for (const other of TYPESCRIPT[suffix]) {
      try {
        return await nextResolve(specifier.slice(0, -suffix.length) + other, context);
      } catch {
        // the first error names what was requested
      }
    }
    throw error;
  }
}

export async function load(url, context, nextLoad) {
  if (url === SHIM) return { format: 'module', source: shimSource(), shortCircuit: true };
  if (!isProjects(url)) return nextLoad(url, context);
  const file = pathOf(url);
  files.add(file);
  const source = sourceOf(url, file);
  if (source === undefined) {
    checkRegular(file);
    return nextLoad(url, context);
  }
  // The disk is not asked where the format is known: by now the name may be a device that never ends.
  // Node reads a CommonJS module itself; modules.cjs gives it the source.
  if (context.format && !context.format.startsWith('commonjs')) {
    return { format: context.format, source, shortCircuit: true };
  }
  const isThere = isRegular(file) || !context.format; // or deleted since, or replaced by a pipe
  const loaded = isThere ? await nextLoad(url, context) : { format: context.format, source: '' };
  if (loaded.source === null || loaded.source === undefined) return loaded;
  return { ...loaded, source, shortCircuit: true };
}

function sourceOf(url, file) {
  const number = versionOf(url);
  const source = tables.get(number)?.sources.get(file) ?? snapshot.get(file);
  return number === 0 || source === undefined ? source : reporting(source, file, number);
}

function shimSource() {
  const own = `globalThis[Symbol.for('agent-tui.shim')]`;
  const names = shim.map((name) => `export const ${name} = ${own}[${JSON.stringify(name)}];`);
  return [`export * from ${JSON.stringify(sdkUrl)};`, ...names].join('\n');
}
