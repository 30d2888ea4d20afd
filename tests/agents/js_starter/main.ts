// In the style of the SDK's starter project: a session, a model in another file, a caller to wait for.
import { ServerOptions, cli, defineAgent, voice } from '@livekit/agents';
import { fileURLToPath } from 'node:url';
import { Assistant } from './agent';

interface UserData {
  greeting: string;
}

export default defineAgent<UserData>({
  prewarm: async (proc) => {
    proc.userData.greeting = 'Hello';
  },
  entry: async (ctx) => {
    const session = new voice.AgentSession({});
    await session.start({ agent: new Assistant(), room: ctx.room });
    await ctx.connect();
    const caller = await ctx.waitForParticipant();
    const plan = caller.attributes.plan ?? 'free';
    const others = [...ctx.room.remoteParticipants.keys()];
    console.log(JSON.stringify([caller.identity, caller.metadata, plan, caller.attributes, others]));
    await session.generateReply({ userInput: `${ctx.proc.userData.greeting}, ${caller.identity}` }).waitForPlayout();
    const last = session.history.items.at(-1);
    console.log(last?.type === 'message' ? last.textContent : last);
    ctx.shutdown('said');
  },
});

cli.runApp(new ServerOptions({ agent: fileURLToPath(import.meta.url), agentName: 'starter' }));
