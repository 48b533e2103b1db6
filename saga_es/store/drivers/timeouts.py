"""How long anybody waits for a lock."""

LOCK_S = 10
"""For a lock that others hold."""

SCHEMA_LOCK_S = 600
"""For the schema lock at a server: as long as it takes to make views anew from some ten million events."""
