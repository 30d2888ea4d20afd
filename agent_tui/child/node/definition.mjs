// Imported by the SDK's job main in place of the agent's file: the file's own definition, watched.
export default globalThis[Symbol.for('agent-tui.definition')];
