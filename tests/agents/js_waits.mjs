import { defineAgent } from '@livekit/agents';

export default defineAgent({
  entry: async (ctx) => {
    if (ctx.job.room.name === 'raises') throw new Error('asked to');
    ctx.addShutdownCallback(async () => console.log('called back'));
    await ctx.connect();
    console.log(`entered ${ctx.job.room.name}`);
  },
});
