"""livekit-agents: a server that lacks its entry function."""

from livekit.agents import AgentServer, cli

server = AgentServer()

if __name__ == "__main__":
    cli.run_app(server)
