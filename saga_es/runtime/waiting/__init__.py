"""How this process waits: for a time, for a result, and for a database that is away."""
