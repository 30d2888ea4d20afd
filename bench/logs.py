"""Measures the log pane under a flood of lines: key to paint on a terminal, dropped lines, and cost.

Runs a native agent on a pseudo terminal of 200×40, where the log pane has half of the width. Its job prints
`--rate` lines a second. The bench presses keys and measures the time until the text appears that only this
key brings: leaving and following the end, the find field, and a page. It then prints how many lines the pane
has and how many were dropped, and searches for a text in all lines.

    python bench/logs.py [--rate 10000] [--seconds 10] [--pause-ms 60]
"""

import argparse
import re
import statistics
import sys
import tempfile
import time
from pathlib import Path

import psutil
from terminal import Terminal

from agent_tui.tui.widgets.text import percentile

AGENT = """
import asyncio, sys, time
async def request_func(req):
    await req.accept()
async def entry(ctx):
    begin, done, late = time.perf_counter(), 0, 0
    while done < {rate} * {seconds}:
        due = min(int((time.perf_counter() - begin) * {rate}), {rate} * {seconds})
        sys.stdout.write("".join(f"flood {{n}} " + "word " * 15 + "\\n" for n in range(done, due)))
        sys.stdout.flush()
        done = due
        await asyncio.sleep(0.01)
    print(f"over: {{done}} lines in {{time.perf_counter() - begin:.1f}} s", flush=True)
    await asyncio.sleep(600)
"""
KEYS = (
    ("Home: away from the end", b"\x1b[H", "‖ paused", b""),
    ("f: follow again", b"f", "● follow", b""),
    ("/: the find field", b"/", "re:PATTERN", b"\x1b"),
)
"""Name, key, the text that appears only after this key, and the key that removes it again."""

PAGES = (("F: a page opens over all", b"F", "Log filters", b"\x1b"),)
"""As `KEYS`, for keys that repaint the whole screen."""

WARM_UP_S = 1.0
CLOSING_S = 0.8
"""Seconds to wait after Esc. A key within 0.1 s would be read as Alt with that key."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rate", type=int, default=10_000, help="lines a second")
    parser.add_argument("--seconds", type=int, default=10)
    parser.add_argument("--pause-ms", type=int, default=60, help="between a paint and the next key")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        agent = Path(folder) / "agent.py"
        agent.write_text(AGENT.format(rate=options.rate, seconds=options.seconds))
        terminal = Terminal([sys.executable, "-m", "agent_tui", str(agent), "--local"], size=(200, 40))
        try:
            measure(terminal, options.rate, options.seconds, options.pause_ms / 1000)
        finally:
            terminal.process.terminate()
            terminal.process.wait()


def measure(terminal: Terminal, rate: int, seconds: int, pause_s: float) -> None:
    terminal.until(b"AW_")
    time.sleep(2.0)
    host = psutil.Process(terminal.process.pid)
    terminal.press(b"3")  # move the focus to the lines
    time.sleep(0.3)
    mark = terminal.mark()
    terminal.press(b"d")
    terminal.shown_after(mark, b"flood ")
    time.sleep(WARM_UP_S)
    host.cpu_percent()
    print(f"{rate} lines/s:")
    report(press_all(terminal, time.perf_counter() + seconds - WARM_UP_S - 0.5, pause_s))
    print(f"{'CPU of the host':34} {host.cpu_percent():.0f} % of a core")
    terminal.shown_after(mark, b"over: ")
    time.sleep(1.0)
    for what, found in (
        ("lines kept", r"([\d,]+) lines"),
        ("lines dropped", r"⚠ ([\d,]+) dropped"),
    ):
        values = re.findall(found, terminal.text_after(mark))
        print(f"{what:34} {values[-1].strip() if values else 0}")
    print("after the flood:")
    report(press_all(terminal, time.perf_counter() + 4.0, pause_s))
    search(terminal, "word flood")
    search(terminal, "re:flood .*wordy")
    print(f"{'memory of the host (RSS)':34} {host.memory_info().rss / 2**20:.0f} MB")


def press_all(terminal: Terminal, until: float, pause_s: float) -> dict[str, list[float]]:
    """Press all keys in turn. Return the times from each key to its text, in ms."""
    taken: dict[str, list[float]] = {}
    while time.perf_counter() < until:
        for name, key, shown, back in (*KEYS, *KEYS, *KEYS, *PAGES):
            mark, begin = terminal.mark(), time.perf_counter()
            terminal.press(key)
            taken.setdefault(name, []).append((terminal.shown_after(mark, shown.encode()) - begin) * 1000)
            time.sleep(pause_s)
            if back:
                terminal.press(back)
                time.sleep(CLOSING_S)
    return taken


def report(taken: dict[str, list[float]]) -> None:
    every = [value for name, *_ in KEYS for value in taken[name]]
    for name, values in (*taken.items(), ("keys of the pane", every)):
        p50, p95 = statistics.median(values), percentile(values, 0.95)
        print(f"  {name:32} p50 {p50:.0f} ms, p95 {p95:.0f} ms, worst {max(values):.0f} ms (n={len(values)})")


def search(terminal: Terminal, typed: str, result: bytes = b"no match") -> None:
    """Search for a text that is in no line, and print the seconds from the last key to the result."""
    terminal.press(b"/")
    time.sleep(0.3)
    terminal.press(typed[:-1].encode())
    time.sleep(3.0)
    mark, begin = terminal.mark(), time.perf_counter()
    terminal.press(typed[-1].encode())
    print(f"{'search for ' + typed:34} {terminal.shown_after(mark, result) - begin:.2f} s")
    terminal.press(b"\x1b")
    time.sleep(0.5)


if __name__ == "__main__":
    main()
