"""Proof that the log is as it was written: verified, sealed, signed."""
