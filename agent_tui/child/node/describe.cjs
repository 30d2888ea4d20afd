// Describes errors for people: `Type: message`, the stack, and the place in the project's files.
'use strict';
const { spawnSync } = require('node:child_process');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { fileURLToPath } = require('node:url');

const PLACE = /(?:^|[\s(])(file:\/\/\/[^\s()]+?|\/[^\s():]+):(\d+)(?::\d+)?\)?$/;
const ESBUILD = /^(\/.+?|[^\s:]+\.[cm]?[jt]sx?):(\d+):\d+: ERROR: (.+)$/m;
const CHECKED = 20;

function describeNow(error, child) {
  const known = error instanceof Error || (error !== null && typeof error === 'object' && 'stack' in error);
  const name = known ? (error.name ?? 'Error') : 'Error';
  const text = known ? `${name}: ${error.message}` : `${name}: ${String(error)}`;
  const traceback = known && typeof error.stack === 'string' ? error.stack : text;
  const place = placeIn(traceback, child);
  return { error: text, traceback, file: place?.file ?? null, line: place?.line ?? null };
}

/** As `describeNow`, but also finds the line of a syntax error, which Node leaves out of `stack`. */
async function describe(error, child) {
  const found = describeNow(error, child);
  const transformed = ESBUILD.exec(found.error) ?? ESBUILD.exec(found.traceback);
  if (transformed) {
    const file = path.resolve(transformed[1]);
    return { ...found, error: `SyntaxError: ${transformed[3]}`, file, line: Number(transformed[2]) };
  }
  if (error instanceof Error && error.name === 'SyntaxError' && found.line === null) {
    return { ...found, ...(await syntaxError(child)) };
  }
  const imported = / imported from (\/\S+|file:\S+)/.exec(found.error);
  if (imported && found.file === null) return { ...found, ...placeOfImport(imported[1], found.error, child) };
  return found;
}

function placeIn(stack, child) {
  for (const line of stack.split('\n')) {
    const match = PLACE.exec(line.trim());
    if (!match) continue;
    const file = plainPath(match[1]);
    if (child.modules.isProjects(file)) return { file, line: Number(match[2]) };
  }
  return null;
}

function plainPath(text) {
  try {
    return text.startsWith('file:') ? fileURLToPath(text) : text;
  } catch {
    return text;
  }
}

/** Let Node check the files that were loaded, the last one first. */
async function syntaxError(child) {
  const files = (await child.modules.loaded()).files.reverse().filter((each) => /\.[cm]?js$/.test(each));
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'agent-tui-'));
  try {
    for (const file of files.slice(0, CHECKED)) {
      const copy = path.join(folder, `checked${child.modules.isModule(file) ? '.mjs' : '.cjs'}`);
      fs.writeFileSync(copy, child.modules.source(file) ?? fs.readFileSync(file));
      const done = spawnSync(process.execPath, ['--check', copy], { env: { PATH: process.env.PATH }, encoding: 'utf8' });
      if (done.status === 0) continue;
      const at = /checked\.[cm]js:(\d+)/.exec(done.stderr);
      const text = done.stderr.trim().replaceAll(`file://${copy}`, file).replaceAll(copy, file);
      if (at) return { traceback: text, file, line: Number(at[1]) };
    }
  } finally {
    fs.rmSync(folder, { recursive: true, force: true });
  }
  return {};
}

function placeOfImport(from, text, child) {
  const file = plainPath(from);
  const wanted = /'([^']+)'/.exec(text)?.[1] ?? '';
  const name = path.basename(wanted).replace(/\.[cm]?[jt]sx?$/, '');
  const source = child.modules.source(file) ?? (fs.existsSync(file) ? fs.readFileSync(file, 'utf8') : '');
  const line = source.split('\n').findIndex((each) => name && /import|export|require/.test(each) && each.includes(name));
  return { file, line: line < 0 ? null : line + 1 };
}

module.exports = { describe, describeNow, PLACE, plainPath };
