"""Text can be read in the themes that promise it: a contrast of 4.5, as WCAG 2.2 §1.4.3 asks.

Exempt are borders and graphs, and, as there, what is disabled.
"""

from pathlib import Path

import pytest
from rich.color import Color

FOLDER = Path(__file__).resolve().parents[2] / "screenshots"
LEAST = 4.5
THEMES = ("dark", "light", "high-contrast")
DRAWN = frozenset("─│┌┐└┘├┤╭╮╰╯━╸╺▁▂▃▄▅▆▇█▎▏▍▋▊▉▔▕·╌▲⠀⠁⠂⠄⡀⢀⠠⠐⠈⠉⠤⢠⢸⡇⡠⠒⠊⠔⢄⠢⠑⠃⠘⠰⠆⢰⡆⣀⣠⣄⣤⢇⡸⠇⠸⡏⢹⡎⢱ ")


def contrast(first: Color, second: Color) -> float:
    """Return the contrast ratio of two colors, from 1 to 21."""
    lighter, darker = sorted((luminance(first), luminance(second)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def luminance(color: Color) -> float:
    parts = [each / 255 for each in color.get_truecolor()]
    linear = [each / 12.92 if each <= 0.04045 else ((each + 0.055) / 1.055) ** 2.4 for each in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize(
    ("recording", "keys"),
    [("calls", []), ("edit", ["g"]), ("sweep", ["T"]), ("crash", ["j", "enter"])],
    ids=["dashboard", "generations", "tuning", "job"],
)
async def test_text_contrasts(monkeypatch: pytest.MonkeyPatch, recording: str, keys: list[str]) -> None:
    monkeypatch.syspath_prepend(FOLDER)
    for name in ("HOME", "TZ", "COLORTERM", "TERM"):  # set while a recording is played
        monkeypatch.setenv(name, "")
    import make
    import recording as recording_module

    playback = recording_module.Playback(
        recording_module.read_recording(FOLDER / f"recordings/{recording}.jsonl")
    )
    weak = {}
    async with make.playing(playback, recording, (120, 40), THEMES[0]) as (app, pilot):
        await make.step(app, pilot, playback, playback.end)
        for key in keys:
            await pilot.press(key)
            await make.step(app, pilot, playback, playback.end)
        for theme in THEMES:
            if app.theme != theme:
                app.theme = theme
                await make.step(app, pilot, playback, playback.end)
            for strip in app.screen._compositor.render_strips():
                for text, style, _ in strip:
                    if style and style.color and style.bgcolor and not set(text) <= DRAWN:
                        ratio = contrast(style.color, style.bgcolor)
                        if ratio < LEAST:
                            weak[theme, text.strip()] = round(ratio, 1)
    assert weak == {}
