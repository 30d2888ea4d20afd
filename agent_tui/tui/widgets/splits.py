"""The body of the dashboard, whose two splits can be moved with keys and the mouse."""

from collections.abc import Mapping
from enum import StrEnum
from typing import ClassVar

from textual import events
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.widget import Widget

from agent_tui.model.errors import UserError


class Split(StrEnum):
    """A border that can be moved."""

    COLUMNS = "columns"
    ROWS = "rows"


PANELS = {Split.COLUMNS: ("#left", "#detail"), Split.ROWS: ("#processes", "#logs")}
"""The panels on the two sides of each split."""

DIMENSIONS = {Split.COLUMNS: "width", Split.ROWS: "height"}

DIGITS = 4
WHOLE = 10**DIGITS
"""Shares are rounded to integers of this unit, because Textual may leave a column empty with floats."""

STEPS = {Split.COLUMNS: 4, Split.ROWS: 2}
"""How many cells one press of a key moves each split."""

MAXIMIZED = "one panel fills the screen · F10 shows all"

REASONS = {
    Split.COLUMNS: "there is one column: a wider terminal shows two",
    Split.ROWS: "the logs are hidden · 3 show them",
}
"""The reason shown when a split cannot be moved because one of its panels is hidden."""


def share_of(size: int, total: int, least: tuple[int, int]) -> float | None:
    """Return the share that gives the first panel `size` of `total` cells; None if there is no room to move.

    Each panel gets at least its minimum size, from `least`. Half a cell is added, because Textual rounds
    sizes down.
    """
    most = total - least[1]
    return None if most < least[0] else round((min(max(size, least[0]), most) + 0.5) / total, DIGITS)


class SplitBody(Horizontal):
    """The left column (processes, breaches, logs) and the right one (the tabs)."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "show_all_panels", "Show all", show=False)]

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.maximized: Widget | None = None
        """The panel that fills the body; None while all are shown."""
        self._shares: dict[Split, float] = {}
        self._dragged: Split | None = None

    @property
    def shares(self) -> Mapping[Split, float]:
        """The share of each split's first panel, from 0 to 1, for splits that the user has moved; settable.

        The panels' minimum sizes (app.tcss) always apply.
        """
        return self._shares

    @shares.setter
    def shares(self, shares: Mapping[Split, float]) -> None:
        self._shares = dict(shares)
        self._apply()

    def maximize(self, panel: Widget | None) -> None:
        """Fill the body with one of its panels; None shows all again. Header, notices, and keys stay."""
        self.maximized = panel
        self.query(".-whole").remove_class("-whole")
        self.screen.set_class(panel is not None, "-maximized")
        for each in () if panel is None else panel.ancestors_with_self:
            if each is self:
                break
            each.add_class("-whole")

    def reveal(self, panel: Widget) -> None:
        """Show all panels if another one fills the body."""
        if self.maximized not in (None, panel):
            self.maximize(None)

    def panel_of(self, inside: Widget | None) -> Widget | None:
        """Return the panel that a widget is in; None outside of the body."""
        columns = (self, self.query_one("#left"))
        around = () if inside is None else inside.ancestors_with_self
        return next((each for each in around if isinstance(each, Widget) and each.parent in columns), None)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if action == "show_all_panels":  # while all are shown, Esc is for the app
            return self.maximized is not None
        return super().check_action(action, parameters)

    def action_show_all_panels(self) -> None:
        self.maximize(None)

    def action_resize_left(self) -> None:
        self.step(Split.COLUMNS, -1)

    def action_resize_right(self) -> None:
        self.step(Split.COLUMNS, 1)

    def action_resize_up(self) -> None:
        self.step(Split.ROWS, -1)

    def action_resize_down(self) -> None:
        self.step(Split.ROWS, 1)

    def step(self, split: Split, by: int) -> None:
        """Move a split by that many steps. Raise UserError if it is not shown."""
        first, second = self._sizes(split)
        if not (first and second):
            raise UserError(MAXIMIZED if self.maximized is not None else REASONS[split])
        if split in self._shares:  # it may have moved since the last layout
            at = int(self._shares[split] * (first + second))
            first, second = at, first + second - at
        least = self._least(split)
        inside = min(max(first, least[0]), first + second - least[1])
        self._move(split, inside + by * STEPS[split])

    def _move(self, split: Split, size: int) -> None:
        """Give the first panel that size, in cells."""
        share = share_of(size, sum(self._sizes(split)), self._least(split))
        if share is not None:
            self.shares = {**self._shares, split: share}

    def _panels(self, split: Split) -> tuple[Widget, Widget]:
        first, second = PANELS[split]
        return self.query_one(first), self.query_one(second)

    def _sizes(self, split: Split) -> tuple[int, int]:
        """Return the sizes of both panels, in cells; (0, 0) if the split does not separate them now."""
        first, second = (panel.region for panel in self._panels(split))
        if not (first and second) or (split is Split.COLUMNS and first.y != second.y):
            return 0, 0
        return (first.width, second.width) if split is Split.COLUMNS else (first.height, second.height)

    def _least(self, split: Split) -> tuple[int, int]:
        first, second = (getattr(panel.styles, f"min_{DIMENSIONS[split]}") for panel in self._panels(split))
        return int(first.value) if first else 1, int(second.value) if second else 1

    def _apply(self) -> None:
        """Apply the shares to the panels. A single column gets the whole width."""
        for split, share in self._shares.items():
            whole = split is Split.COLUMNS and self.screen.has_class("-narrow")
            part = round(share * WHOLE)
            sizes = (None, None) if whole else (f"{part}fr", f"{WHOLE - part}fr")
            for panel, size in zip(self._panels(split), sizes, strict=True):
                setattr(panel.styles, DIMENSIONS[split], size)

    def on_resize(self) -> None:
        self._apply()

    # -- the mouse ---------------------------------------------------------------------------------------

    def split_at(self, x: int, y: int) -> Split | None:
        """Return the split whose border is in that cell of the screen."""
        processes = self._panels(Split.ROWS)[0].region
        left, detail = (panel.region for panel in self._panels(Split.COLUMNS))
        at_side = processes.contains(x, y) and x == left.right - 1
        if any(self._sizes(Split.COLUMNS)) and (at_side or (detail.contains(x, y) and x == detail.x)):
            return Split.COLUMNS
        at_bottom = processes.contains(x, y) and y == processes.bottom - 1
        return Split.ROWS if at_bottom and any(self._sizes(Split.ROWS)) else None

    def on_mouse_down(self, event: events.MouseDown) -> None:
        """Start to move the split whose border was pressed."""
        split = self.split_at(event.screen_x, event.screen_y)
        if event.button == 1 and split is not None:
            event.stop()
            self._dragged = split
            self.capture_mouse()

    def on_mouse_move(self, event: events.MouseMove) -> None:
        """Move the split to the mouse."""
        if self._dragged is not None:
            start = self._panels(self._dragged)[0].region
            is_column = self._dragged is Split.COLUMNS
            self._move(self._dragged, event.screen_x - start.x if is_column else event.screen_y + 1 - start.y)

    def on_mouse_up(self) -> None:
        self._dragged = None
        self.release_mouse()
