"""Runs a command on a pseudo terminal, and waits for its texts."""

import fcntl
import os
import pty
import re
import struct
import subprocess
import termios
import threading
import time
from collections.abc import Mapping
from pathlib import Path


class Terminal:
    """A command on a pseudo terminal, with everything that it has written."""

    def __init__(
        self, command: list[str], environ: Mapping[str, str] = os.environ, size: tuple[int, int] = (120, 40)
    ) -> None:
        """`size` is the number of columns and rows."""
        self._host, client = pty.openpty()
        fcntl.ioctl(client, termios.TIOCSWINSZ, struct.pack("HHHH", size[1], size[0], 0, 0))
        environ = {**environ, "TERM": "xterm-256color", "COLORTERM": "truecolor"}
        environ.pop("PYTHONDONTWRITEBYTECODE", None)  # a user's second start finds the bytecode
        self.begin = time.perf_counter()
        self.process = subprocess.Popen(
            command,
            stdin=client,
            stdout=client,
            stderr=client,
            env=environ,
            start_new_session=True,
            cwd=Path(__file__).parents[1],
        )
        os.close(client)
        self._written = bytearray()
        self._news = threading.Condition()
        threading.Thread(target=self._read, daemon=True).start()

    def until(self, text: bytes, limit_s: float = 20.0) -> float:
        """Return the seconds from exec to the text. Raises SystemExit if it is not written in time."""
        deadline = time.monotonic() + limit_s
        with self._news:
            while text not in self._written:
                if not self._news.wait(deadline - time.monotonic()):
                    raise SystemExit(
                        f"{text!r} was never shown:\n{self._written[-2000:].decode(errors='replace')}"
                    )
            return time.perf_counter() - self.begin

    def mark(self) -> int:
        """Return the current end of the output."""
        with self._news:
            return len(self._written)

    def shown_after(self, mark: int, text: bytes, limit_s: float = 20.0) -> float:
        """Wait for the text after that mark; return `time.perf_counter()`. Raises SystemExit without it."""
        deadline = time.monotonic() + limit_s
        with self._news:
            while self._written.find(text, mark) < 0:
                if not self._news.wait(deadline - time.monotonic()):
                    raise SystemExit(f"{text!r} was not shown within {limit_s:g} s")
            return time.perf_counter()

    def text_after(self, mark: int) -> str:
        """Return the output after that mark, without escape sequences."""
        with self._news:
            text = self._written[mark:].decode(errors="replace")
        return re.sub(r"\x1b\[[0-?]*[ -/]*[@-~]", "", text)

    def press(self, key: bytes) -> None:
        os.write(self._host, key)

    def _read(self) -> None:
        while True:
            try:
                data = os.read(self._host, 65536)
            except OSError:
                return
            with self._news:
                self._written += data
                self._news.notify_all()
