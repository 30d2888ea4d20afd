// What files of modules are called.
'use strict';

const EXTENSIONS = ['.js', '.cjs', '.mjs', '.json', '.ts', '.cts', '.mts', '.jsx', '.tsx'];

/** A module's path without suffix, a folder's without `index`: as `stem` in runtimes/node/imports.py. */
function stem(file) {
  const suffix = /\.[^./]+$/.exec(file)?.[0];
  if (!EXTENSIONS.includes(suffix)) return file;
  const base = file.slice(0, -suffix.length);
  return base.endsWith('/index') ? base.slice(0, -'/index'.length) : base;
}

module.exports = { EXTENSIONS, stem };
