// The files of modules: their names, and whether they can be read.
'use strict';
const fs = require('node:fs');

const EXTENSIONS = ['.js', '.cjs', '.mjs', '.json', '.ts', '.cts', '.mts', '.jsx', '.tsx'];

/** Return a module's path without suffix, or a folder's without `index`, as `stem` in runtimes/node/imports.py. */
function stem(file) {
  const suffix = /\.[^./]+$/.exec(file)?.[0];
  if (!EXTENSIONS.includes(suffix)) return file;
  const base = file.slice(0, -suffix.length);
  return base.endsWith('/index') ? base.slice(0, -'/index'.length) : base;
}

/** Throw for a device, a pipe or a socket: reading one may never end. */
function checkRegular(file) {
  const found = fs.statSync(file, { throwIfNoEntry: false });
  if (found && !found.isFile() && !found.isDirectory()) throw new Error(`${file} is not a regular file`);
}

/** Whether there is a regular file. */
function isRegular(file) {
  try {
    return fs.statSync(file).isFile();
  } catch {
    return false;
  }
}

module.exports = { EXTENSIONS, checkRegular, isRegular, stem };
