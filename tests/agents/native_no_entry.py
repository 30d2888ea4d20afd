"""An agent without an entry function."""

agent = {"prewarm": lambda proc: None}
