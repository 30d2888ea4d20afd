// The process of a CommonJS agent: like main.mjs, with the SDK's CommonJS build. The two builds are two
// copies with two job contexts, so the job main must belong to the one that the agent requires (agents-js.md
// §8.1).
'use strict';
const Module = require('node:module');
const { fileURLToPath, pathToFileURL } = require('node:url');
const { Child } = require('./child.cjs');

const config = JSON.parse(process.argv[2]);
const child = new Child(config);

async function main() {
  const sdk = require(`${config.sdk}/dist/index.cjs`);
  await child.blank({
    sdk,
    sdkUrl: pathToFileURL(`${config.sdk}/dist/index.cjs`).href,
    preload: (path) => require(path.startsWith('file:') ? fileURLToPath(path) : path),
    tsx: () => import(pathToFileURL(config.tsx).href),
  });
  await child.run({
    load: (file) => import(pathToFileURL(file).href),
    // As the main module, so that `require.main === module` holds in it.
    loadMain: async (file) => ({ default: Module._load(file, null, true) }),
    importMain: async (name) => require(`${config.sdk}/dist/ipc/${name}.cjs`),
    importSdk: async (name) => require(`${config.sdk}/dist/${name}.cjs`),
    sdkUrl: (name) => pathToFileURL(`${config.sdk}/dist/${name}.cjs`).href,
    main: (name) => `${config.sdk}/dist/ipc/${name}.cjs`,
    definition: require.resolve('./definition.cjs'),
  });
}

main();
