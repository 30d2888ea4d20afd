"""The LiveKit worker: protocol machine, connection, status, and load."""
