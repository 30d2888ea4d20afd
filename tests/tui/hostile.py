"""Hostile text: markup, escape sequences, and unusual characters."""

HOSTILE = "[/x][bold]\x1b[31mred\x1b]0;title\x07 漢字 👩\u200d👩\u200d👧 \u202eabc\nnext"
"""Markup, colors, a terminal title, wide and joined characters, right-to-left text, a second row."""

TEXTS = {
    "markup": "[/x] [bold red]markup[/] [link='http://x']y[/link]",
    "ansi": "\x1b[31mred\x1b[0m \x1b]0;title\x07 \x1b[2J",
    "wide": "漢字かな交じり文 🎉👩\u200d👩\u200d👧\u200d👦 é\u0301",
    "bidi": "abc\u202egnp.exe\u2066",
    "megabyte": "x" * 1_000_000,
    "mixed": "\\[escaped] {braces} $variable \x00\x07",
}
"""One kind of hostile text each."""
