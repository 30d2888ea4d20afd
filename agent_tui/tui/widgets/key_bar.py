"""The key bar at the bottom of a screen: the enabled keys and their labels."""

from collections.abc import Callable

from textual import events
from textual.binding import Binding
from textual.content import Content
from textual.screen import Screen
from textual.style import Style
from textual.widgets import Static


class KeyBar(Static, can_focus=False):
    """The footer as one line of text. Clicking a key has the effect of pressing it.

    Textual's Footer is slower: it mounts a widget per key whenever the focus changes.
    """

    ALLOW_SELECT = False
    DEFAULT_CSS = """
    KeyBar {
        dock: bottom;
        height: 1;
        color: $footer-foreground;
        background: $footer-background;
        padding: 0 1;
        text-wrap: nowrap;
        text-overflow: clip;
    }
    """

    def __init__(
        self,
        drop_priority: Callable[[Binding], int | None] = lambda binding: 0,
        order: Callable[[Binding], int] = lambda binding: 0,
    ) -> None:
        """If not all keys fit, those with the highest `drop_priority` are dropped first. Those with 0 stay;
        those with None are never shown. Keys with a lower `order` are further left.
        """
        super().__init__()
        self._drop_priority = drop_priority
        self._order = order
        self._line = Content()

    def on_mount(self) -> None:
        self.screen.bindings_updated_signal.subscribe(self, self._show)

    def on_click(self, event: events.Click) -> None:
        if key := event.style.meta.get("key"):
            self.app.simulate_key(key)

    def _show(self, screen: Screen[object]) -> None:
        active = sorted(screen.active_bindings.values(), key=lambda each: self._order(each.binding))
        shown = [
            (priority, self._key(binding, enabled=enabled))
            for _, binding, enabled, _ in active
            if binding.show and (priority := self._drop_priority(binding)) is not None
        ]
        room = self.content_size.width or self.app.size.width
        while sum(key.cell_length + 2 for _, key in shown) - 2 > room and any(drop for drop, _ in shown):
            shown.remove(max(shown, key=lambda each: each[0]))
        line = Content("  ").join([key for _, key in shown])
        if not line.is_same(self._line):
            self._line = line
            self.update(line, layout=False)

    def on_resize(self) -> None:
        self._show(self.screen)

    def _key(self, binding: Binding, *, enabled: bool) -> Content:
        faint = "" if enabled else " dim"
        return Content.assemble(
            (self.app.get_key_display(binding), f"bold $footer-key-foreground{faint}"),
            (f" {binding.description}", f"$footer-description-foreground{faint}"),
        ).stylize(Style.from_meta({"key": binding.key} if enabled else {}))
