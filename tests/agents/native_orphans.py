"""A native agent whose job, by the name of its room, cannot notice that its host has gone."""

import ctypes
import signal
import subprocess
import sys
import time
from typing import Any


def entry(ctx: Any) -> None:
    print("entered", flush=True)
    match ctx.job.room.name:
        case "spins":
            while True:
                pass
        case "holds the lock":
            ctypes.PyDLL(None).sleep(600)
        case "ignores signals":
            for number in set(signal.Signals) - {signal.SIGKILL, signal.SIGSTOP}:
                signal.signal(number, signal.SIG_IGN)
            ctypes.PyDLL(None).sleep(600)
        case "has a child":
            child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
            print("child", child.pid, flush=True)
            ctypes.PyDLL(None).sleep(600)
        case _:
            time.sleep(600)
