"""Archiving and bundles: streams move from the log to a file, and back."""
