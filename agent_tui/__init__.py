"""agent-tui hosts a LiveKit agent file on a developer's machine and shows what it does."""

__version__ = "0.1.0"
