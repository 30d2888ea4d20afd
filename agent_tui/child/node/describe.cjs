// Describes errors for people: `Type: message`, the stack, and the place in the project's files.
'use strict';
const { spawnSync } = require('node:child_process');
const fs = require('node:fs');
const path = require('node:path');
const { fileURLToPath } = require('node:url');

const PLACE = /(?:^|[\s(])(file:\/\/\/[^\s()]+?|\/[^\s():]+):(\d+)(?::\d+)?\)?$/;
const ESBUILD = /^(\/.+?|[^\s:]+\.[cm]?[jt]sx?):(\d+):(\d+): ERROR: (.+)$/m;
const JSON_ERROR = /^SyntaxError: (file:\/\/\S+?\.json|\/.+?\.json): (?:[^]* at position (\d+))?/;
const CHECKED = 20;
const CHECK = `
  const vm = require('node:vm');
  const [filename, isModule] = process.argv.slice(1);
  const source = require('node:fs').readFileSync(0, 'utf8');
  if (isModule === 'true') new vm.SourceTextModule(source, { identifier: filename });
  else vm.compileFunction(source, ['exports', 'require', 'module', '__filename', '__dirname'], { filename });
`;

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
    const [file, line, column] = [path.resolve(transformed[1]), Number(transformed[2]), Number(transformed[3])];
    const error = `SyntaxError: ${transformed[4]}`;
    return { error, traceback: quoted(file, line, column, error, child), file, line };
  }
  const json = JSON_ERROR.exec(found.error);
  if (json) {
    const file = plainPath(json[1]);
    const before = json[2] && sourceOf(file, child).slice(0, Number(json[2]));
    return { ...found, file, line: before === undefined ? null : before.split('\n').length };
  }
  if (error instanceof Error && error.name === 'SyntaxError' && found.line === null) {
    return { ...found, ...(await syntaxError(child)) };
  }
  const imported = / imported from (\/\S+|file:\S+)/.exec(found.error);
  if (!imported || found.file !== null) return found;
  const importer = plainPath(imported[1]);
  // The agent file itself is gone: agent-tui's own main has imported it.
  if (isOurs(importer)) return { ...found, error: found.error.replace(imported[0], '') };
  return { ...found, ...placeOfImport(importer, found.error, child) };
}

/** The failing line with a caret below its column (from 0), as Node shows it, instead of esbuild's own stack. */
function quoted(file, line, column, error, child) {
  const text = sourceOf(file, child).split('\n')[line - 1] ?? '';
  return `${file}:${line}\n${text}\n${text.slice(0, column).replace(/[^\t]/g, ' ')}^\n\n${error}`;
}

function sourceOf(file, child) {
  return child.modules.source(file) ?? (fs.existsSync(file) ? fs.readFileSync(file, 'utf8') : '');
}

function placeIn(stack, child) {
  for (const line of stack.split('\n')) {
    const match = PLACE.exec(line.trim());
    if (!match) continue;
    const file = plainPath(match[1]);
    if (child.modules.isProjects(file) && !isOurs(file)) return { file, line: Number(match[2]) };
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

/**
 * Let another Node process check the files that were loaded, the last one first, because only the message of
 * an uncaught error names the line. It gets the source through stdin, so that nothing stays on the disk.
 */
async function syntaxError(child) {
  const files = (await child.modules.loaded()).files.reverse().filter((each) => /\.[cm]?js$/.test(each));
  for (const file of files.slice(0, CHECKED)) {
    const done = spawnSync(
      process.execPath,
      ['--experimental-vm-modules', '--no-warnings', '-e', CHECK, file, String(child.modules.isModule(file))],
      { env: { PATH: process.env.PATH }, encoding: 'utf8', input: child.modules.source(file) ?? fs.readFileSync(file) },
    );
    if (!done.stderr.startsWith(`${file}:`)) continue;
    const line = Number(/^\d+/.exec(done.stderr.slice(file.length + 1))?.[0]);
    const traceback = done.stderr.replace(/\n    at [^]*/, '');
    if (line) return { traceback, file, line };
  }
  return {};
}

function isOurs(file) {
  return file.startsWith(__dirname + path.sep);
}

function placeOfImport(file, text, child) {
  const wanted = /'([^']+)'/.exec(text)?.[1] ?? '';
  const name = path.basename(wanted).replace(/\.[cm]?[jt]sx?$/, '');
  const line = sourceOf(file, child).split('\n').findIndex((each) => name && /import|export|require/.test(each) && each.includes(name));
  return { file, line: line < 0 ? null : line + 1 };
}

module.exports = { describe, describeNow, PLACE, plainPath };
