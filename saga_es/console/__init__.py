"""The web console: see every saga, and set right what is stuck."""

from saga_es.console.blueprint import mount_console

__all__ = ["mount_console"]
