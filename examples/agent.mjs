// An agents-js agent. Install it with `npm ci` in this folder, then run `agent-tui examples/agent.mjs` and press d.
//
// It joins the room, waits a moment and leaves; put an AgentSession where it sleeps.
import { fileURLToPath } from 'node:url';
import { setTimeout as sleep } from 'node:timers/promises';
import { ServerOptions, cli, defineAgent, log } from '@livekit/agents';

// Decides on each offer.
async function onRequest(req) {
  await req.accept('Example agent', '', '', { example: 'agents-js' });
}

export default defineAgent({
  // Runs once in each process before a job comes: load models here.
  prewarm: (proc) => {
    proc.userData.greeting = 'Hello';
  },
  // Runs one job.
  entry: async (ctx) => {
    log().info(`${ctx.proc.userData.greeting}, room ${ctx.job.room.name}`);
    ctx.addShutdownCallback(async () => log().info('goodbye'));
    await ctx.connect();
    await sleep(2000);
    ctx.shutdown('call finished');
  },
});

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  cli.runApp(new ServerOptions({ agent: fileURLToPath(import.meta.url), requestFunc: onRequest }));
}
