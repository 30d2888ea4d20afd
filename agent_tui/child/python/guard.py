"""Runs a command, and ends it when the process that started this one has ended.

Started as `python guard.py FD COMMAND…`, with the read end of a pipe as FD. When the process at the other end
has ended, the pipe closes. The command is then asked to end, and killed if it has not ended after a moment.
"""

import os
import select
import signal
import subprocess
import sys
import time

GRACE_S = 2.0


def main() -> int:
    lifeline = int(sys.argv[1])
    os.set_inheritable(lifeline, False)
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    command = subprocess.Popen(sys.argv[2:], stdin=subprocess.DEVNULL)
    signal.signal(signal.SIGTERM, lambda *_: command.terminate())
    while command.poll() is None:
        if select.select([lifeline], [], [], 0.1)[0]:
            _end(command)
    return command.returncode if command.returncode >= 0 else 128 - command.returncode


def _end(command: "subprocess.Popen[bytes]") -> None:
    deadline = time.monotonic() + GRACE_S
    while command.poll() is None and time.monotonic() < deadline:
        command.terminate()  # livekit-server with people in its rooms needs a second request
        time.sleep(0.1)
    if command.poll() is None:
        command.kill()
        command.wait()


if __name__ == "__main__":
    sys.exit(main())
