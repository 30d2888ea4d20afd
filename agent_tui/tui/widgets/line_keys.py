"""The keys that the log lines and a conversation share."""

from textual.binding import Binding, BindingType

LINE_KEYS: tuple[BindingType, ...] = (
    Binding("up", "select(-1)", "Up", show=False),
    Binding("down", "select(1)", "Down", show=False),
    Binding("pageup", "page(-1)", "Page up", show=False),
    Binding("pagedown", "page(1)", "Page down", show=False),
    Binding("home", "oldest", "Oldest", show=False),
    Binding("end", "follow", "Follow", show=False),
    Binding("space", "fold", "Fold or unfold", show=False),
)
"""Keys of a view with blocks or lines of which one can be selected."""

ONLY_FOUND = Binding("ctrl+o", "only_found", "Only matches", show=False)
"""The key of a pane with a search, also while its text is typed."""
