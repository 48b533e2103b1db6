"""Benchmarks: the engine and its peers side by side, in turn, in one run. `make bench` runs them all."""
