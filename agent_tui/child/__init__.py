"""The code that runs on the agent's interpreter: `python/` and `node/`, started by path, never imported."""
