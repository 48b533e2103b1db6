"""The log on real brokers."""
