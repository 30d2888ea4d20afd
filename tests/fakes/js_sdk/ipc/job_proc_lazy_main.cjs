// The SDK's job main up to the end of prewarm (agents-js.md §8.2).
'use strict';
const { pathToFileURL } = require('node:url');

const loaded = import(pathToFileURL(process.argv[2]).href);
process.once('message', async () => {
  process.on('message', () => {}); // the channel keeps the process alive
  const { default: found } = await loaded;
  await (found.default ?? found).prewarm({ userData: {} });
  process.send({ case: 'initializeResponse' });
});
