// An agents-js agent in TypeScript. Install it with `npm ci` in this folder, then run `agent-tui examples/agent.ts`
// and press d.
//
// It waits for its caller and greets them; put an AgentSession where it sleeps.
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { type JobContext, type JobProcess, ServerOptions, cli, defineAgent, log } from '@livekit/agents';

interface UserData extends Record<string, unknown> {
  greeting: string;
}

export default defineAgent<UserData>({
  prewarm: (proc: JobProcess<UserData>) => {
    proc.userData.greeting = 'Hello';
  },
  entry: async (ctx: JobContext<UserData>): Promise<void> => {
    await ctx.connect();
    const caller = await ctx.waitForParticipant();
    log().info(`${ctx.proc.userData.greeting}, ${caller.identity}`);
    await sleep(2000);
    ctx.shutdown('call finished');
  },
});

cli.runApp(new ServerOptions({ agent: fileURLToPath(import.meta.url), numIdleProcesses: 1 }));
