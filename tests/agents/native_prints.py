"""Writes whatever a terminal may get."""

import sys


async def entry(ctx):
    print("ünïcödé ☎ \U0001f399")
    print("\x1b[31mred\x1b[0m and \a bell")
    sys.stdout.buffer.write(b"bytes \xff\xfe\n")
    print("to stderr", file=sys.stderr)
    print("no newline", end="")
