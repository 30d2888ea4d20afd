"""Make one animated SVG of screenshots that were taken one after the other.

It uses CSS only, no scripts and no fonts to load, so it also moves as an image in a README. A text or
background that several frames share is written once, with the times at which it is visible. Viewers without
animations, or with reduced motion, show the last frame.
"""

import html
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

LINE_HEIGHT = "24.65"
CAPTION_HEIGHT = 64
FONT = "'Fira Code', 'Cascadia Mono', 'DejaVu Sans Mono', Menlo, Consolas, monospace"

_SIZE = re.compile(r'viewBox="0 0 ([\d.]+) ([\d.]+)"')
_STYLE = re.compile(r"\.terminal-\d+-(r\d+) \{ (.*?) \}")
_RECT = re.compile(r'<rect fill="(#\w+)" x="([\d.]+)" y="([\d.]+)" width="([\d.]+)" height="24.65"')
_TEXT = re.compile(
    r'<text class="terminal-\d+-(r\d+)" x="([\d.]+)" y="([\d.]+)" textLength="([\d.]+)"[^>]*>([^<]*)</text>'
)


@dataclass(frozen=True, slots=True)
class Frame:
    """A screenshot as Textual exports it, and what is written under it."""

    at: float
    """When the screenshot was taken, in seconds."""
    svg: str
    caption: str


@dataclass(frozen=True, slots=True)
class Mark:
    """A painted element: a background or a text. Backgrounds come first."""

    layer: int
    markup: str


def animated(frames: Sequence[Frame], hold_s: float) -> str:
    """Return the animation as SVG; its last frame stays for `hold_s`."""
    begin, length = frames[0].at, frames[-1].at - frames[0].at + hold_s
    return _document(frames, [(frame.at - begin) / length for frame in frames], length)


def still(frame: Frame) -> str:
    """Return one frame, as the animation shows it."""
    return _document([frame], [0.0], 0.0)


def _document(frames: Sequence[Frame], starts: Sequence[float], length_s: float) -> str:
    size = _SIZE.search(frames[0].svg)
    if size is None:
        raise ValueError("no screenshot of Textual")
    width, height = float(size[1]), float(size[2])
    styles: dict[str, str] = {}
    seen: dict[Mark, list[int]] = defaultdict(list)
    for number, frame in enumerate(frames):
        for mark in _marks(frame, styles, width, height):
            if seen[mark][-1:] != [number]:
                seen[mark].append(number)
    patterns: dict[tuple[int, ...], list[Mark]] = defaultdict(list)
    for mark, numbers in seen.items():
        patterns[tuple(numbers)].append(mark)
    rules: list[str] = []
    layers: tuple[list[str], list[str]] = ([], [])
    for index, (when, marks) in enumerate(sorted(patterns.items())):
        always = len(when) == len(frames)
        if not always:
            rules.append(f"@keyframes k{index}{{{_steps(when, starts)}}}")
            shown = "visible" if when[-1] == len(frames) - 1 else "hidden"
            rules.append(f".p{index}{{visibility:{shown};animation-name:k{index}}}")
        for layer, group in enumerate(layers):
            inner = "".join(mark.markup for mark in marks if mark.layer == layer)
            if inner:
                group.append(f"<g>{inner}</g>" if always else f'<g class="p{index} a">{inner}</g>')
    style = [
        f"text{{font:20px {FONT}}}",
        f".a{{animation:{length_s:.2f}s step-end infinite}}",
        *(f".{name}{{{body}}}" for body, name in styles.items()),
        ".cap{font-size:24px;font-weight:bold;fill:#e0e0e0;text-anchor:middle}",
        *rules,
        "@media (prefers-reduced-motion:reduce){.a{animation:none}}",
    ]
    return "\n".join(
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height + CAPTION_HEIGHT:g}">',
            f"<style>{''.join(style)}</style>",
            f'<rect fill="#292929" stroke="#666" x="1" y="1" width="{width - 2:g}" '
            f'height="{height + CAPTION_HEIGHT - 2:g}" rx="8"/>',
            '<circle cx="26" cy="22" r="7" fill="#ff5f57"/><circle cx="48" cy="22" r="7" fill="#febc2e"/>'
            '<circle cx="70" cy="22" r="7" fill="#28c840"/>',
            '<g transform="translate(9,41)">',
            *layers[0],
            *layers[1],
            "</g></svg>",
            "",
        )
    )


def _marks(frame: Frame, styles: dict[str, str], width: float, height: float) -> Iterator[Mark]:
    own = {name: styles.setdefault(body, f"c{len(styles)}") for name, body in _STYLE.findall(frame.svg)}
    for fill, x, y, wide in _joined(_RECT.findall(frame.svg)):
        rect = f'<rect fill="{fill}" x="{x:g}" y="{y}" width="{wide:g}" height="{LINE_HEIGHT}"/>'
        yield Mark(0, rect)
    for name, x, y, length, text in _TEXT.findall(frame.svg):
        if text.replace("&#160;", "").strip():
            plain = text.replace("&#160;", "\u00a0")  # viewers may join ordinary spaces
            yield Mark(1, f'<text class="{own[name]}" x="{x}" y="{y}" textLength="{length}">{plain}</text>')
    words = html.escape(frame.caption)
    yield Mark(1, f'<text class="cap" x="{width / 2 - 9:g}" y="{height - 10:g}">{words}</text>')


def _joined(rects: Sequence[tuple[str, ...]]) -> Iterator[tuple[str, float, str, float]]:
    """Yield backgrounds (color, left, top, width). Neighbors of the same color are joined."""
    held: tuple[str, float, str, float] | None = None
    for fill, left, top, width in rects:
        x, wide = float(left), float(width)
        if held is not None and held[0] == fill and held[2] == top and abs(held[1] + held[3] - x) < 0.2:
            held = (fill, held[1], top, x + wide - held[1])
            continue
        if held is not None:
            yield held
        held = (fill, x, top, wide)
    if held is not None:
        yield held


def _steps(numbers: Sequence[int], starts: Sequence[float]) -> str:
    """Return the keyframes of an element that is visible in these frames and hidden in the others."""
    shown, steps, before = set(numbers), [], None
    for number, start in enumerate(starts):
        visible = number in shown
        if visible is not before:
            steps.append(f"{start * 100:.2f}%{{visibility:{'visible' if visible else 'hidden'}}}")
        before = visible
    return "".join(steps)


def without_repeats(frames: Sequence[Frame]) -> list[Frame]:
    """Return the frames that differ from the one before."""
    kept: list[Frame] = []
    for frame in frames:
        if not kept or replace(frame, at=kept[-1].at) != kept[-1]:
            kept.append(frame)
    return kept
