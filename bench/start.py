"""Compares the time from start to registered of `agent-tui AGENT --headless` and `python AGENT dev`, and of
agent-tui with a native file.

All register with the same server (`agent-tui server`). Their runs alternate, so that changes of the machine's
speed affect all. Prints seconds (median, min–max), and the ratio to the SDK's worker.

    python bench/start.py --python .venvs/sdk-new/bin/python [--runs 7] [AGENT]
"""

import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parents[1]
NATIVE = ROOT / "examples/native_agent.py"
HOST = [sys.executable, "-m", "agent_tui"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("agent", nargs="?", default=str(ROOT / "examples/livekit_agent.py"))
    parser.add_argument("--python", default=str(ROOT / ".venvs/sdk-new/bin/python"))
    parser.add_argument("--runs", type=int, default=7)
    options = parser.parse_args()
    with server() as environ:
        commands = {
            "python AGENT dev": ([options.python, options.agent, "dev"], "registered worker"),
            "agent-tui AGENT": (
                [*HOST, options.agent, "--headless", "--json", "--python", options.python],
                '"event": "registered"',
            ),
            "agent-tui, native file": (
                [*HOST, str(NATIVE), "--headless", "--json"],
                '"event": "registered"',
            ),
        }
        seconds: dict[str, list[float]] = {name: [] for name in commands}
        for run in range(options.runs + 1):
            for name, (command, mark) in commands.items():
                took = until_line(command, mark, environ)
                if run:  # the first run fills the caches
                    seconds[name].append(took)
    peer = statistics.median(seconds["python AGENT dev"])
    for name, values in seconds.items():
        spread = f"{min(values):.3f}–{max(values):.3f}, n={len(values)}"
        median = statistics.median(values)
        print(f"{name:22} {median:.3f} s  {median / peer:.2f} ×  ({spread})")


@contextmanager
def server() -> Iterator[dict[str, str]]:
    """Run the embedded server in its own process. Yields the environment for workers."""
    process = subprocess.Popen([*HOST, "server", "--port", "0", "--json"], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    facts = json.loads(process.stdout.readline())
    try:
        # A user's second start finds the bytecode.
        usual = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
        yield {
            **usual,
            "LIVEKIT_URL": facts["url"],
            "LIVEKIT_API_KEY": facts["api_key"],
            "LIVEKIT_API_SECRET": facts["api_secret"],
        }
    finally:
        process.terminate()
        process.wait()
        process.stdout.close()


def until_line(command: list[str], mark: str, environ: dict[str, str]) -> float:
    """Return the seconds from exec to a line that contains the mark. Ends the command."""
    begin = time.perf_counter()
    process = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=environ,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    for line in process.stdout:
        if mark in line:
            break
    else:
        raise SystemExit(f"{command} ended without {mark!r}")
    took = time.perf_counter() - begin
    process.send_signal(signal.SIGINT)
    process.stdout.read()
    process.wait()
    process.stdout.close()
    return took


if __name__ == "__main__":
    main()
