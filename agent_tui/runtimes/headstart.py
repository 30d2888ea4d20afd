"""A child that starts before the host itself is complete: it imports the SDK while the host imports its own.

That import is most of the way from start to registration (livekit-agents.md §3.2), and needs nothing of us.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import agent_tui
from agent_tui.runtimes.channel import encode_line
from agent_tui.runtimes.kinds import KINDS
from agent_tui.runtimes.spawn import Command, Started, start

CHILD_MAIN = Path(agent_tui.__file__).parent / "child" / "main.py"

QUIET = {"ORT_DISABLE_TELEMETRY": "1"}
"""onnxruntime starts a thread when it is imported (fork.md §1). The agent's file sees its own environment."""


def child_command(interpreter: Path, cwd: Path, environ: Mapping[str, str]) -> Command:
    """How a Python child is started."""
    return Command([str(interpreter), str(CHILD_MAIN), "{fd}"], cwd, {**environ, **QUIET})


class HeadStart:
    """One child without orders. Whoever makes it must see that it is taken or discarded."""

    def __init__(
        self,
        runtime: str,
        interpreter: Path,
        cwd: Path,
        environ: Mapping[str, str],
        imports: Sequence[str] = (),
    ) -> None:
        """`imports` is what the agent's code is known to import of others. Raises OSError."""
        self._started: Started | None = start(child_command(interpreter, cwd, environ))
        modules = (*KINDS[runtime].sdk_modules, *imports)
        self._started.sock.sendall(encode_line("prepare", {"modules": modules}))

    def take(self) -> Started | None:
        """The child, once; whoever takes it gives it its orders."""
        started, self._started = self._started, None
        return started

    def discard(self) -> None:
        """Ends the child if nobody took it."""
        started = self.take()
        if started is not None:
            started.discard()
