"""How this process waits: for a time, for a result, for a database that is away."""
