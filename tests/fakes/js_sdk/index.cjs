// What loading a file needs of the SDK, whose import takes more than a second of CPU.
'use strict';
const AGENT = Symbol.for('livekit.agents.AgentDefinition');

exports.defineAgent = (agent) => Object.defineProperty(agent, AGENT, { value: true });
exports.isAgent = (value) => typeof value === 'object' && value !== null && AGENT in value;
exports.initializeLogger = () => {};
exports.ServerOptions = class {};
exports.JobContext = class {};
exports.voice = {};
