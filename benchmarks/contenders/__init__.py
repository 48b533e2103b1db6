"""The programs that are measured, each in a process of its own: the engine, and the peers it is compared with."""
