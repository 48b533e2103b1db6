"""The log: streams of events, their encoding, their hash chains, and reading on from a position."""
