"""Incoming requests: starts and commands, from this process or through the log."""
