"""The rows of the help page: groups of keys, in up to three columns. Pure functions."""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

from rich.cells import cell_len

from agent_tui.tui.actions import Action, Place, key_name
from agent_tui.tui.page_keys import KEY_TABLES, KeyTable
from agent_tui.tui.widgets.text import Line, Span, Tone, clip, pad, width_of, wrapped

COLUMN_WIDTHS = {3: 144, 2: 96}
"""Minimum width for that many columns, in cells."""

GAP = 3
TITLE_WIDTH = 20
KEYS_WIDTH = 17
"""Maximum width of the keys, in cells. Only the selected row shows longer ones in full."""

MIN_HELP = 30
"""If the help of an action has less room than this, in cells, only the selected row shows it."""

FOCUSED = "has the focus"
MOVES = "Everywhere"
"""The group of the keymap's keys."""

NO_MOVES: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class KeyEntry:
    """A row: keys and what they do. `action` is the action's name, or empty for keys of pages and panels."""

    keys: str
    title: str
    text: str
    action: str = ""


@dataclass(frozen=True, slots=True)
class KeyGroup:
    """Rows under a title. Only groups of one section are balanced between the columns."""

    title: str
    entries: tuple[KeyEntry, ...]
    section: int = 0
    note: str = ""


@dataclass(frozen=True, slots=True)
class Spot:
    """Where an entry is on the page."""

    row: int
    column: int


@dataclass(frozen=True, slots=True)
class KeyPage:
    """The laid-out page: its lines, where each entry is, and how wide a column is."""

    lines: tuple[Line, ...]
    spots: tuple[Spot, ...]
    column_width: int


# -- groups ------------------------------------------------------------------------------------------------


def key_groups(
    actions: Iterable[Action], focus: Sequence[str], moves: Mapping[str, str] = NO_MOVES
) -> tuple[KeyGroup, ...]:
    """Return all groups, starting with those whose keys work where the focus is.

    `focus` has the class names of the focused widget and its ancestors, innermost first. `moves` maps keys to
    the keys that they act like.
    """
    place = Place.LOGS if "LogPane" in focus else Place.PROCESSES
    by_group: dict[str, list[Action]] = {}
    for action in actions:
        by_group.setdefault(action.group, []).append(action)
    groups = [
        (
            all(action.place is not place for action in members),
            KeyGroup(name, tuple(map(_of_action, members))),
        )
        for name, members in by_group.items()
    ]
    active = [table for table in KEY_TABLES if _distance(table, focus) < len(focus)]
    here = sorted(active, key=lambda table: _distance(table, focus))
    others = [table for table in KEY_TABLES if table not in here]
    return (
        *(_of_table(table, note=FOCUSED if number == 0 else "") for number, table in enumerate(here)),
        *([KeyGroup(MOVES, tuple(_of_move(*each) for each in moves.items()))] if moves else []),
        *(group for _, group in sorted(groups, key=lambda each: each[0])),
        *(_of_table(table, section=1) for table in others),
    )


def _distance(table: KeyTable, focus: Sequence[str]) -> int:
    """Return how many levels above the focused widget the table's keys are bound; `len(focus)` if nowhere."""
    return min((focus.index(name) for name in table.classes if name in focus), default=len(focus))


def _of_action(action: Action) -> KeyEntry:
    return KeyEntry(action.shown_keys, action.title, action.help, action.name)


def _of_move(key: str, other: str) -> KeyEntry:
    return KeyEntry(key, "", f"Like {key_name(other)}, except where you type text.")


def _of_table(table: KeyTable, *, section: int = 0, note: str = "") -> KeyGroup:
    entries = tuple(
        KeyEntry(" ".join(map(key_name, keys.split())), "", text.replace("`", ""))
        for keys, text in table.rows
    )
    return KeyGroup(table.title.replace("`", ""), entries, section, note)


def found(groups: Iterable[KeyGroup], text: str) -> tuple[KeyGroup, ...]:
    """Return the entries that contain all words of the text, in their groups."""
    words = text.casefold().split()
    kept = []
    for group in groups:
        entries = tuple(each for each in group.entries if _has(words, group.title, each))
        if entries:
            kept.append(replace(group, entries=entries))
    return tuple(kept)


def _has(words: Collection[str], title: str, entry: KeyEntry) -> bool:
    text = f"{entry.keys} {entry.title} {entry.text} {entry.action} {title}".casefold()
    return all(word in text for word in words)


def entries_of(groups: Iterable[KeyGroup]) -> tuple[KeyEntry, ...]:
    """Return all entries, in the order in which ↑ and ↓ select them."""
    return tuple(entry for group in groups for entry in group.entries)


# -- layout ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Cell:
    """A line of a column, and the number of its entry; None for titles and blank lines."""

    line: Line = ()
    entry: int | None = None


def key_page(groups: Sequence[KeyGroup], selected: int, width: int) -> KeyPage:
    """Lay out the page in `width` cells, and mark the entry with the number `selected`."""
    columns = next((count for count, least in COLUMN_WIDTHS.items() if width >= least), 1)
    each = (width - GAP * (columns - 1)) // columns
    lines: list[Line] = []
    spots: dict[int, Spot] = {}
    first = 0
    for section in sorted({group.section for group in groups}):
        members = [group for group in groups if group.section == section]
        keys = min(max(cell_len(entry.keys) for entry in entries_of(members)), KEYS_WIDTH)
        blocks = list(_blocks(members, first, selected, keys, each))
        first += sum(len(group.entries) for group in members)
        sides = _balanced(blocks, columns)
        if lines:
            lines.append(())
        for row in range(max(map(len, sides))):
            cells = [side[row] if row < len(side) else _Cell() for side in sides]
            spots |= {
                cell.entry: Spot(len(lines), column)
                for column, cell in enumerate(cells)
                if cell.entry is not None
            }
            lines.append(_row(cells, each))
    return KeyPage(tuple(lines), tuple(spots[number] for number in sorted(spots)), each)


def _blocks(
    groups: Sequence[KeyGroup], first: int, selected: int, keys: int, width: int
) -> Iterator[list[_Cell]]:
    number = first
    for group in groups:
        note = (Span(f"  ● {group.note}", Tone.GOOD),) if group.note else ()
        block = [_Cell((Span(clip(group.title, width - 18), Tone.STRONG), *note))]
        for entry in group.entries:
            block.append(_Cell(_entry_line(entry, keys, width, selected=number == selected), number))
            number += 1
        yield block


def _balanced(blocks: Sequence[list[_Cell]], columns: int) -> list[list[_Cell]]:
    """Return whole blocks in that many columns, the highest as low as possible; the last may be empty."""
    if columns == 1 or len(blocks) < 2:
        return [_stacked(blocks), *([] for _ in range(columns - 1))]
    splits = (
        [_stacked(blocks[:at]), *_balanced(blocks[at:], columns - 1)] for at in range(1, len(blocks) + 1)
    )
    return min(splits, key=lambda sides: max(map(len, sides)))


def _stacked(blocks: Sequence[list[_Cell]]) -> list[_Cell]:
    """Return blocks below one another, with a blank line between them."""
    return [cell for number, block in enumerate(blocks) for cell in ([_Cell()] if number else []) + block]


def _row(cells: Sequence[_Cell], width: int) -> Line:
    spans: list[Span] = []
    for number, cell in enumerate(cells):
        spans += cell.line
        if number < len(cells) - 1:
            spans.append(Span(" " * max(width - width_of(cell.line) + GAP, GAP)))
    return tuple(spans)


def _entry_line(entry: KeyEntry, keys: int, width: int, *, selected: bool) -> Line:
    mark = Span("▸ " if selected else "  ", Tone.STRONG)
    head = Span(pad(entry.keys, keys) + "  ", Tone.KEY)
    room = width - keys - 4
    if not entry.title:
        return mark, head, Span(clip(entry.text, room), Tone.STRONG if selected else Tone.PLAIN)
    title = Span(pad(entry.title, min(TITLE_WIDTH, room)), Tone.STRONG if selected else Tone.PLAIN)
    left = room - TITLE_WIDTH - 1
    if left < MIN_HELP:
        return mark, head, title
    return mark, head, title, Span(f" {clip(entry.text, left)}", Tone.DIM)


def entry_lines(entry: KeyEntry | None, width: int) -> tuple[Line, ...]:
    """Return the selected entry in full: keys, title, and name in one line, and what the keys do below."""
    if entry is None:
        return ((Span("no key matches: Esc shows all", Tone.DIM),),)
    name = Span(f"  :{entry.action}", Tone.DIM) if entry.action else Span("")
    head = (Span(entry.keys, Tone.KEY), Span(f"  {entry.title}", Tone.STRONG), name)
    return (head, *((Span(row),) for row in wrapped(entry.text, width)))
