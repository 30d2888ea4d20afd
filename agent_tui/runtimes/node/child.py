"""A Node child: nothing may be sent while the SDK's job main takes its channel over (agents-js.md §8.4)."""

from collections import deque
from collections.abc import Callable

from agent_tui.model.child import ChildTraits, Failed, FromChild, Loading, Manifest, Ready, ToChild
from agent_tui.runtimes.line_child import LineChild, Process
from agent_tui.runtimes.node.dialect import NodeDialect


class NodeChild(LineChild):
    """A `LineChild` that holds messages back until the child is ready."""

    def __init__(
        self,
        process: Process,
        traits: ChildTraits,
        dialect: NodeDialect,
        initialize: bytes,
        imported: Callable[[], None],
    ) -> None:
        """`initialize` is the line that starts the SDK's main; empty where there is none. `imported` is
        called once the SDK is imported, or the process has ended.
        """
        self._initialize = initialize
        self._imported = imported
        self._held: deque[ToChild] | None = deque()
        super().__init__(process, traits, dialect)

    def send(self, message: ToChild) -> None:
        if self._held is None:
            super().send(message)
        else:
            self._held.append(message)

    def _deliver(self, message: FromChild) -> None:
        match message:
            case Loading():
                self._imported()
                # The child listened for its orders only; Node keeps this line until the job main listens.
                self.send_line(self._initialize)
            case Ready() | Manifest() | Failed():
                held, self._held = self._held, None
                for each in held or ():
                    super().send(each)
            case _:
                pass
        super()._deliver(message)

    def _close(self) -> None:
        self._imported()
        super()._close()
