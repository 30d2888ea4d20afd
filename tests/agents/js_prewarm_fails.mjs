import { defineAgent } from '@livekit/agents';

export default defineAgent({
  prewarm: () => {
    throw new Error('no model');
  },
  entry: async () => {},
});
