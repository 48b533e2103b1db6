"""Programs that are measured, each a process of its own: the engine, and the peers it is held against."""
