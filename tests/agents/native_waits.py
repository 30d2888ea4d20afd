"""Runs until it is told to end; its callbacks fail and take their time."""

import asyncio


class Agent:
    async def entry(self, ctx):
        async def slow():
            await asyncio.sleep(0.05)
            print("slow callback")

        def broken():
            raise RuntimeError("callback broke")

        ctx.add_shutdown_callback(broken)
        ctx.add_shutdown_callback(slow)
        print("waiting")
        await asyncio.Event().wait()


agent = Agent()
