// See definition.mjs.
module.exports = { __esModule: true, default: globalThis[Symbol.for('agent-tui.definition')] };
