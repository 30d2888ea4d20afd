"""The key bar at the bottom of a screen: the enabled keys and their labels."""

from textual import events
from textual.content import Content
from textual.screen import Screen
from textual.style import Style
from textual.widgets import Static


class KeyBar(Static, can_focus=False):
    """The footer as one line of text; a click on a key presses it.

    Textual's Footer mounts a widget per key at every change of focus, which is slower.
    """

    ALLOW_SELECT = False
    DEFAULT_CSS = """
    KeyBar {
        dock: bottom;
        height: 1;
        color: $footer-foreground;
        background: $footer-background;
        text-wrap: nowrap;
        text-overflow: clip;
    }
    """

    def __init__(self) -> None:
        super().__init__()
        self._line = Content()

    def on_mount(self) -> None:
        self.screen.bindings_updated_signal.subscribe(self, self._show)

    def on_click(self, event: events.Click) -> None:
        if key := event.style.meta.get("key"):
            self.app.simulate_key(key)

    def _show(self, screen: Screen[object]) -> None:
        keys = [
            Content.assemble(
                (
                    self.app.get_key_display(binding),
                    f"bold $footer-key-foreground{'' if enabled else ' dim'}",
                ),
                (f" {binding.description}", f"$footer-description-foreground{'' if enabled else ' dim'}"),
            ).stylize(Style.from_meta({"key": binding.key} if enabled else {}))
            for _, binding, enabled, _ in screen.active_bindings.values()
            if binding.show
        ]
        line = Content(" ").join(keys)
        if not line.is_same(self._line):
            self._line = line
            self.update(line)
