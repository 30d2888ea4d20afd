"""The command palette: every action of the registry, found by its title and its help."""

from textual.command import DiscoveryHit, Hit, Hits, Provider

from agent_tui.tui.actions import ACTIONS


class ActionProvider(Provider):
    """Offers the actions that make sense now."""

    async def discover(self) -> Hits:
        for action in ACTIONS:
            if self._enabled(action.name):
                yield DiscoveryHit(action.title, self._run(action.name), help=action.help)

    async def search(self, query: str) -> Hits:
        matcher = self.matcher(query)
        for action in ACTIONS:
            score = max(matcher.match(action.title), matcher.match(action.help) * 0.8)
            if score > 0 and self._enabled(action.name):
                yield Hit(score, matcher.highlight(action.title), self._run(action.name), help=action.help)

    def _enabled(self, name: str) -> bool:
        return self.app.check_action("act", (name,)) is True

    def _run(self, name: str):  # type: ignore[no-untyped-def]
        async def run() -> None:
            await self.app.run_action(f"act({name!r})")

        return run
