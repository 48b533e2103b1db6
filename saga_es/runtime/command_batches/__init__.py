"""Batches of commands: one command for many sagas, recorded, given in the background, and stopped at any time."""
