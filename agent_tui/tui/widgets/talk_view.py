"""The scrolling part of a conversation: paints only visible rows and keeps the reader's place."""

from typing import ClassVar

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.binding import Binding, BindingType
from textual.cache import LRUCache
from textual.geometry import Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from agent_tui.model.conversations import SessionView
from agent_tui.tui.widgets.line_keys import LINE_KEYS
from agent_tui.tui.widgets.talk_rows import TalkRows
from agent_tui.tui.widgets.talk_steps import Limits
from agent_tui.tui.widgets.talk_text import MIN_WIDTH, Block, Look
from agent_tui.tui.widgets.text import Line, Span, Tone, wrapped

CACHED_ROWS = 256

STYLES = {
    Tone.PLAIN: "talk--plain",
    Tone.STRONG: "talk--strong",
    Tone.DIM: "talk--dim",
    Tone.GOOD: "talk--good",
    Tone.WARN: "talk--warn",
    Tone.BAD: "talk--bad",
    Tone.GONE: "talk--bad",
    Tone.LOUD: "talk--warn",
    Tone.KEY: "talk--key",
    Tone.SERIES: "talk--plain",
}
"""The component class of each tone."""

SELECTED, FOUND = "talk--selected", "talk--found"

MAX_COPIED = 1_000_000
"""Maximum characters to copy; terminals silently cut or ignore longer text."""


class TalkView(ScrollView, can_focus=True):
    """A Line API view of `TalkRows`. Follows the newest row until the user scrolls or selects."""

    ALLOW_SELECT = False  # it selects whole blocks instead
    COMPONENT_CLASSES: ClassVar[set[str]] = {*STYLES.values(), SELECTED, FOUND}
    DEFAULT_CSS = """
    TalkView {
        height: 1fr;
        background: $surface;
        overflow-x: hidden;
        overflow-y: scroll;
        scrollbar-size-vertical: 1;
        & > .talk--strong { text-style: bold; }
        & > .talk--dim { color: $text-muted; }
        & > .talk--good { color: $text-success; }
        & > .talk--warn { color: $text-warning; text-style: bold; }
        & > .talk--bad { color: $text-error; text-style: bold; }
        & > .talk--key { color: $text-accent; text-style: bold; }
        & > .talk--found { color: $text; background: $warning-muted; text-style: bold underline; }
        & > .talk--selected { background: $panel; }
    }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        *LINE_KEYS,
        Binding("enter", "open", "Type"),
        Binding("f", "follow", "Follow", show=False, id="follow"),
        Binding("z", "fold", "Fold", show=False, id="fold"),
        Binding("Z", "fold_all", "Fold all", show=False, id="fold_all"),
    ]

    class Changed(Message):
        """The content of the bars around the view may have changed."""

        def can_replace(self, message: Message) -> bool:
            return isinstance(message, TalkView.Changed)

    class TypeRequested(Message):
        """The user wants to type to the agent."""

    def __init__(self) -> None:
        super().__init__()
        self.rows = TalkRows()
        self.limits = Limits()
        self._session: SessionView | None = None
        self._now = 0.0
        self._hint = ""
        self._follow = True
        self._selected: str | None = None
        self._placing = False
        self._strips: LRUCache[tuple[Line, bool, str], Strip] = LRUCache(CACHED_ROWS)
        self._styles: dict[str, Style] = {}

    # -- content -----------------------------------------------------------------------------------------

    def show(self, session: SessionView | None, now: float, hint: str) -> None:
        """Show a session as of `now` (Unix seconds); `hint` is what an empty conversation says."""
        before = self._session
        if before is None or session is None or before.key != session.key:
            self._follow, self._selected = True, None
        self._session, self._now = session, now
        if hint != self._hint:
            self._hint = hint
            self.refresh()
        self._update()

    def _update(self) -> None:
        width = max(self.scrollable_content_region.width, MIN_WIDTH)
        if self.size.width and self.rows.show(self._session, self._now, Look(width, self.limits)):
            self._place(self.scroll_y)
            self.post_message(self.Changed())

    def search(self, needle: str, *, only_matches: bool = False) -> None:
        """Mark the blocks with the search text, or show only those; keep the selected block in view."""
        self.rows.search(needle, only_matches=only_matches)
        self._strips.clear()
        index = self.rows.index_of(self._selected)
        self._place(self.scroll_y if index is None else self._top_for(index))
        self.post_message(self.Changed())

    def go_to_match(self, step: int) -> None:
        """Select the next match, or the previous one for a negative step."""
        at = self.rows.index_of(self._selected)
        if at is None:
            at = len(self.rows.blocks) if step < 0 else self._top_block - 1
        found = self.rows.match_after(at) if step > 0 else self.rows.match_before(at)
        if found is not None:
            self.select(found)

    # -- place -------------------------------------------------------------------------------------------

    def _place(self, top: float) -> None:
        """Update the virtual size and scroll to row `top`, or to the end while following."""
        if not self.is_attached:
            return
        self._placing = True
        size = Size(self.scrollable_content_region.width, len(self.rows))
        if size != self.virtual_size:
            self.virtual_size = size
        target = self.max_scroll_y if self._follow else min(max(top, 0), self.max_scroll_y)
        if target != self.scroll_y:
            self.scroll_to(y=target, animate=False, force=True)
        self._placing = False
        self.refresh()

    def _top_for(self, index: int) -> float:
        """Return the nearest scroll offset at which that block is in view."""
        row, size = self.rows.row_of(index), len(self.rows.blocks[index].lines)
        top, height = int(self.scroll_y), max(self.scrollable_content_region.height, 1)
        if row < top or size > height:
            return row
        return max(top, row + size - height)

    @property
    def _top_block(self) -> int:
        return self.rows.at(min(int(self.scroll_y), len(self.rows) - 1))[0] if len(self.rows) else 0

    @property
    def follow(self) -> bool:
        """Whether the newest row stays in view; settable."""
        return self._follow

    @follow.setter
    def follow(self, follow: bool) -> None:
        self._follow = follow
        if follow:
            self._selected = None
        self._place(self.scroll_y)
        self.post_message(self.Changed())

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        """Stop following when the user scrolls away from the end, and follow again at the end."""
        super().watch_scroll_y(old_value, new_value)
        if not self._placing and (new_value >= self.max_scroll_y) != self._follow:
            self._follow = not self._follow
            self.post_message(self.Changed())

    # -- selection ---------------------------------------------------------------------------------------

    @property
    def selected(self) -> Block | None:
        """The selected block; None if there is none."""
        index = self.rows.index_of(self._selected)
        return None if index is None else self.rows.blocks[index]

    @property
    def selected_index(self) -> int | None:
        return self.rows.index_of(self._selected)

    def select(self, index: int) -> None:
        """Select a block and bring it into view; stop following."""
        self._selected, self._follow = self.rows.blocks[index].key, False
        self._place(self._top_for(index))
        self.post_message(self.Changed())

    def action_select(self, step: int) -> None:
        """Select the next or previous block; below the last one, follow again."""
        count, at = len(self.rows.blocks), self.selected_index
        if not count:
            return
        if at is None:
            at = count if step < 0 else self._top_block - 1
            if step > 0 and self._follow:
                return
        if at + step >= count:
            self.follow = True
        else:
            self.select(max(at + step, 0))

    def action_page(self, pages: int) -> None:
        height = max(self.scrollable_content_region.height - 1, 1)
        self.page(pages * height)

    def page(self, rows: int) -> None:
        """Scroll by that many rows, without a selection."""
        self._selected = None
        self.scroll_to(y=self.scroll_y + rows, animate=False, force=True)
        self.refresh()

    def action_oldest(self) -> None:
        if self.rows.blocks:
            self.select(0)

    def action_follow(self) -> None:
        self.follow = True

    def action_fold(self) -> None:
        """Unfold or fold the selected block; without a selection, the last one that can be unfolded."""
        block = self.selected
        if block is None:
            block = next((each for each in reversed(self.rows.blocks) if each.can_fold), None)
        if block is not None and block.can_fold:
            self._toggle(block)

    def _toggle(self, block: Block) -> None:
        self.rows.toggle_fold(block.key)
        index = self.rows.index_of(block.key)
        self._place(self.scroll_y if index is None or self._follow else self._top_for(index))

    def action_fold_all(self) -> None:
        self.rows.fold_all()
        index = self.selected_index
        self._place(self.scroll_y if index is None else self._top_for(index))

    def action_open(self) -> None:
        """Unfold the selected block; if there is none to unfold, ask to type to the agent."""
        block = self.selected
        if block is not None and block.can_fold:
            self._toggle(block)
        else:
            self.post_message(self.TypeRequested())

    def action_copy_lines(self) -> None:
        """Copy the selected block as text; without a selection, the last answer."""
        block = self.selected
        if block is None:
            block = next((each for each in reversed(self.rows.blocks) if each.text), None)
        if block is None or not block.text:
            self.notify("nothing to copy: select a message with ↑", severity="error", markup=False)
            return
        self.app.copy_to_clipboard(block.text[:MAX_COPIED])
        cut = "" if len(block.text) <= MAX_COPIED else f", cut at {MAX_COPIED:,} characters: X saves all"
        self.notify(f"copied {len(block.text[:MAX_COPIED]):,} characters{cut}", markup=False)

    def on_click(self, event: events.Click) -> None:
        """Select the block on a click; unfold it on a double click."""
        row = int(self.scroll_y) + event.y
        if row >= len(self.rows):
            return
        index, _ = self.rows.at(row)
        block = self.rows.blocks[index]
        top = self.scroll_y
        self.select(index)
        self._place(top)
        if event.chain == 2 and block.can_fold:
            self._toggle(block)

    # -- painting ----------------------------------------------------------------------------------------

    def on_resize(self) -> None:
        self._strips.clear()
        self._update()
        self._place(self.scroll_y)

    def notify_style_update(self) -> None:
        super().notify_style_update()
        self._strips.clear()
        self._styles.clear()

    def render_line(self, y: int) -> Strip:
        width = self.scrollable_content_region.width
        row = int(self.scroll_offset.y) + y
        if not len(self.rows):
            hint = "no block contains this text · Esc end the search" if self.rows.needle else self._hint
            hints = wrapped(hint, width - 2)
            text = f" {hints[y]}" if y < len(hints) else ""
            return self._strip((Span(text, Tone.DIM),), selected=False, width=width)
        if row >= len(self.rows):
            return Strip.blank(width, self._style("", selected=False))
        index, line = self.rows.at(row)
        selected = self.rows.blocks[index].key == self._selected
        return self._strip(line, selected=selected, width=width)

    def _strip(self, line: Line, *, selected: bool, width: int) -> Strip:
        key = (line, selected, self.rows.needle)
        strip = self._strips.get(key)
        if strip is None:
            segments = [
                Segment(text, self._style(name, selected=selected))
                for span in line
                for text, name in found_parts(span, self.rows.needle)
            ]
            fill = self._style("", selected=selected)
            strip = self._strips[key] = Strip(segments).adjust_cell_length(width, fill)
        return strip

    def _style(self, name: str, *, selected: bool) -> Style:
        """Return the style of a component class; cached, because Textual computes it at each call."""
        key = f"{name} {selected}"
        if key not in self._styles:
            style = self.get_component_rich_style(name) if name else self.rich_style
            if selected and name != FOUND:
                style += Style(bgcolor=self.get_component_rich_style(SELECTED).bgcolor)
            self._styles[key] = style
        return self._styles[key]


def found_parts(span: Span, needle: str) -> list[tuple[str, str]]:
    """Return the text of a span in pieces, each with its component class; matches are marked."""
    name, text = STYLES[span.tone], span.text
    folded = text.casefold()
    if not needle or len(folded) != len(text) or needle not in folded:
        return [(text, name)]
    parts: list[tuple[str, str]] = []
    start = 0
    while (at := folded.find(needle, start)) >= 0:
        parts += [(text[start:at], name), (text[at : at + len(needle)], FOUND)]
        start = at + len(needle)
    return [(piece, style) for piece, style in (*parts, (text[start:], name)) if piece]
