export { JobContext, ServerOptions, defineAgent, initializeLogger, isAgent, voice } from './index.cjs';
