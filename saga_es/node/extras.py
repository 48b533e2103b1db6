"""What only some processes need is an extra of the package: a door that lacks its own says so in one line."""

from __future__ import annotations

from importlib.util import find_spec

from saga_es.errors import NotInstalled

SERVER = ("click", "flask_smorest", "flask_swagger_ui", "rich", "structlog", "waitress")
"""The modules of the extra `server`: the command line, the HTTP API, and its server."""


def check_otel() -> None:
    """See that the extra `otel` is there.

    Raises:
        NotInstalled: It is not.
    """
    if find_spec("opentelemetry") is None or find_spec("opentelemetry.trace") is None:
        raise NotInstalled(["opentelemetry-api"], "otel", "for traces, or leave them off")


def check_server(purpose: str) -> None:
    """See that the extra `server` is there, before the first of its modules is imported.

    Args:
        purpose: What needs it.

    Raises:
        NotInstalled: A module of it is not.
    """
    absent = [module for module in SERVER if find_spec(module) is None]
    if absent:
        raise NotInstalled(absent, "server", purpose)
