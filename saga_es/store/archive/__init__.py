"""Streams leave the log for a file, and come back."""
