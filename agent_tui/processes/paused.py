"""Whether a process stands still because a person holds it: then no watchdog may end it."""

from pathlib import Path

from agent_tui.system.descriptors import DESCRIPTORS


def is_paused(pid: int) -> bool:
    """True when the process is stopped by a signal or traced by a debugger; False where nothing tells."""
    try:
        with DESCRIPTORS.reserve():
            status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    fields = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
    stopped = fields.get("State", "").strip()[:1] in ("T", "t")
    return stopped or fields.get("TracerPid", "0").strip() not in ("", "0")
