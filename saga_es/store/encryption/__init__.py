"""Encryption of fields: what callers and participants sent is written so that only a subject's key can read it."""
