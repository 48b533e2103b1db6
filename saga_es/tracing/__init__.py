"""Spans of OpenTelemetry, for the extra `otel`: starts, attempts and takeovers of a saga, in one trace."""
