"""livekit-agents: a plugin's inference runner, and a job that asks it."""

from livekit.agents import AgentServer, JobContext, cli
from livekit.agents.inference_runner import _InferenceRunner


class Doubler(_InferenceRunner):
    INFERENCE_METHOD = "double"

    def initialize(self) -> None:
        self.ready = True

    def run(self, data: bytes) -> bytes | None:
        if data == b"bad":
            raise ValueError("cannot double bad")
        return data * 2


_InferenceRunner.register_runner(Doubler)
server = AgentServer()


@server.rtc_session()
async def entry(ctx: JobContext):
    print("doubled", await ctx.inference_executor.do_inference("double", b"ab"))
    ctx.shutdown("done")


if __name__ == "__main__":
    cli.run_app(server)
