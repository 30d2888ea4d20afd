// Versions of modules: which modules of the project run again in a swap, and which ones are shared.
//
// Each swap has a number, and a table that says for each replaced module in which swap it ran. Code of a
// table finds the modules of that table, so code of an earlier one that is suspended still imports its own.
'use strict';
const path = require('node:path');
const { EXTENSIONS } = require('./paths.cjs');

const VERSION = 'agent-tui';
const IN_URL = /[?&]agent-tui=(\d+)/;
const TYPESCRIPT = { '.js': ['.ts', '.tsx'], '.mjs': ['.mts'], '.cjs': ['.cts'], '.jsx': ['.tsx'] };
const SPECIFIER = /(?:\bfrom|\bimport|\bimport\s*\(|\brequire\s*\()\s*["'`](\.{0,2}\/[^"'`\n$]{0,1024}|\.{1,2})["'`]/g;
const CLASS =
  /^(?:export\s+)?(?:default\s+)?(?:abstract\s+)?class\s+([\p{ID_Start}$_][\p{ID_Continue}$]*)|^(?:export\s+)?(?:const|let|var)\s+([\p{ID_Start}$_][\p{ID_Continue}$]*)[^=\n]*=\s*class\b/gmu;

/** The symbol of the function that versions of modules report their classes to. */
const CLASSES = Symbol.for('agent-tui.classes');

/** Return the URL of a version of a module. */
function versioned(url, number) {
  return `${url}${url.includes('?') ? '&' : '?'}${VERSION}=${number}`;
}

/** Return the number of the table that the code at a URL belongs to; 0 for the code that the job started with. */
function versionOf(url) {
  return Number(IN_URL.exec(url ?? '')?.[1] ?? 0);
}

/** Return the source of a version of a module, which then reports its classes. Its lines stay where they are. */
function reporting(source, file, number) {
  if (file.endsWith('.json')) return source;
  const names = [...new Set(classNames(source))];
  if (names.length === 0) return source;
  const classes = names.map((name) => `${name}: typeof ${name} === 'undefined' ? undefined : ${name}`).join(', ');
  const report = `globalThis[Symbol.for('agent-tui.classes')]?.(${JSON.stringify(file)}, ${number}, { ${classes} });`;
  return `${source}\n;${report}\n`;
}

/** Return the names of the classes at the top level of a source. */
function classNames(source) {
  return Array.from(source.matchAll(CLASS), (match) => match[1] ?? match[2]);
}

/** The modules of one swap. */
class Table {
  /**
   * `sources` are the files that differ from those that the process started with, by path, which `original`
   * returns. `before` is the table in use; null if there is none. `edges` are imports that the text does not
   * tell: files by the file that imports them.
   */
  constructor(number, sources, before, { original, files, edges }) {
    this.number = number;
    this.sources = sources;
    this.original = original;
    const changed = new Set();
    for (const file of new Set([...sources.keys(), ...(before?.sources.keys() ?? [])])) {
      if (this.content(file) !== (before ? before.content(file) : original(file))) changed.add(file);
    }
    this.changed = affected(changed, new Set([...files, ...sources.keys()]), (file) => this.content(file), edges);
    this.tags = new Map(before?.tags);
    for (const file of this.changed) this.tags.set(file, number);
  }

  /** Return the text of a file in this table; undefined if there is none. */
  content(file) {
    return this.sources.get(file) ?? this.original(file);
  }
}

/** Return these files and all that import one of them, directly or not. */
function affected(changed, files, content, edges) {
  const found = new Set(changed);
  let fresh = found;
  while (fresh.size > 0) {
    const importers = new Set();
    for (const file of files) {
      if (found.has(file)) continue;
      const others = edges.get(file) ?? [];
      if (imported(file, content(file)).some((each) => fresh.has(each)) || [...others].some((each) => fresh.has(each))) {
        importers.add(file);
      }
    }
    for (const each of importers) found.add(each);
    fresh = importers;
  }
  return found;
}

const scanned = new Map();

/** Return the files that a file's relative imports may mean. */
function imported(file, text) {
  if (text === undefined || file.endsWith('.json')) return [];
  const known = scanned.get(file);
  if (known?.text === text) return known.found;
  const found = [];
  for (const [, specifier] of text.matchAll(SPECIFIER)) {
    const base = path.resolve(path.dirname(file), specifier.split('?')[0]);
    const suffix = /\.[cm]?jsx?$/.exec(base)?.[0] ?? '';
    found.push(base, ...(TYPESCRIPT[suffix] ?? []).map((each) => base.slice(0, -suffix.length) + each));
    found.push(...EXTENSIONS.flatMap((each) => [base + each, path.join(base, `index${each}`)]));
  }
  scanned.set(file, { text, found });
  return found;
}

module.exports = { CLASSES, Table, classNames, reporting, versionOf, versioned };
