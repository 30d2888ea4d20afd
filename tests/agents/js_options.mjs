// For tests/options/outside: as the Python files of rig.py.
import { existsSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { ServerOptions, WorkerPermissions, cli, defineAgent, log } from '@livekit/agents';

console.log(`loaded by ${process.argv[2]}`);

export const picky = async (req) => (req.id === 'AJ_1' ? req.reject() : req.accept());
export const busy = async () => 0.9;

export default defineAgent({
  prewarm: () => sleep(Number(process.env.PREWARM_S ?? 0) * 1000),
  entry: async (ctx) => {
    log().info('an info line');
    log().error('an error line');
    if (process.env.SLOW_END) ctx.addShutdownCallback(() => sleep(60_000));
    for (const [name, ms] of Object.entries({ short: 50, second: 1000 })) {
      if (existsSync(name)) setTimeout(() => ctx.shutdown('over'), ms);
    }
  },
  onSessionEnd: () => sleep(process.env.SLOW_SESSION_END ? 60_000 : 0),
});

void WorkerPermissions;
cli.runApp(new ServerOptions({ agent: import.meta.filename, /* the options under test */ }));
