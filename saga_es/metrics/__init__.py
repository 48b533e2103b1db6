"""Metrics for Prometheus: what this process appended and called, and what the database holds.

`saga_es.metrics.meter` and the modules below it need the package `prometheus-client`. Without it, nothing is counted.
"""
