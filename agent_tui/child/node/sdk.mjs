// Replaces @livekit/agents in the agent's files while the control process loads them; hooks.mjs, which knows
// where the SDK is, makes its source.
