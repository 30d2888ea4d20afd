import { defineAgent } from '@livekit/agents';

export default defineAgent({
  entry: async (ctx) => {
    if (ctx.job.room.name === 'raises') throw new Error('asked to');
    console.log(`entered ${ctx.job.room.name}`);
  },
});
