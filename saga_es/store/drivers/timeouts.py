"""How long a connection waits for a lock."""

LOCK_S = 10
"""For a lock that others hold."""

SCHEMA_LOCK_S = 600
"""For the schema lock at a server: the time of a replay of some ten million events."""
