"""How long a connection waits for a lock."""

LOCK_S = 10
"""For a lock that others hold."""

SCHEMA_LOCK_S = 600
"""For the schema lock at a server: the time of a replay of some ten million events."""

BRIEFLY_S = 1
"""For a lock on a view that has refused an event: the log does not wait for views."""
