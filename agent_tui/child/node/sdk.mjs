// Stands for @livekit/agents in the agent's own files while the control process loads them; its source is made by
// hooks.mjs, which knows where the SDK is.
