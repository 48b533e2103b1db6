"""Whether the log is what was written: verified, sealed, signed."""
