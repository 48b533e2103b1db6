"""Decide: the pure half of the engine. No clock, no random, no I/O, no threads; imports nothing of ours but errors."""
