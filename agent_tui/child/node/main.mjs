// The process of an ESM agent: imports the SDK, waits for its spec (until then it is a blank), and loads the
// file. `node main.mjs CONFIG`, where CONFIG is JSON from `runtimes/node/blanks.py`.
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';

const require = createRequire(import.meta.url);
const { Child } = require('./child.cjs');

const config = JSON.parse(process.argv[2]);
const child = new Child(config);
const sdkUrl = pathToFileURL(`${config.sdk}/dist/index.js`).href;

// The SDK is imported before any hook exists: hooks would handle each of its 600 files in another thread.
const sdk = await import(sdkUrl);
await child.blank({
  sdk,
  sdkUrl,
  preload: (url) => import(url),
  tsx: () => import(pathToFileURL(config.tsx).href),
});
await child.run({
  load: (file) => import(pathToFileURL(file).href),
  loadMain: (file) => import(pathToFileURL(file).href),
  importMain: (name) => import(pathToFileURL(`${config.sdk}/dist/ipc/${name}.js`).href),
  importSdk: (name) => import(pathToFileURL(`${config.sdk}/dist/${name}.js`).href),
  sdkUrl: (name) => pathToFileURL(`${config.sdk}/dist/${name}.js`).href,
  main: (name) => `${config.sdk}/dist/ipc/${name}.js`,
  definition: new URL('./definition.mjs', import.meta.url).pathname,
});
