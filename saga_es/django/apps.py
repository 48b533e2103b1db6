"""The application of Django's registry: `"saga_es.django"` among INSTALLED_APPS."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from django.apps import AppConfig
from django.core.signals import request_started

from saga_es.errors import StoreUnavailable


class SagaEsConfig(AppConfig):
    """It brings `manage.py saga`, whose `db upgrade` makes the tables; so does the first use of the engine."""

    name = "saga_es.django"
    label = "saga_es"
    verbose_name = "Sagas"

    def ready(self) -> None:
        """Have the first request open the engine, before any transaction: a server may fork until then."""
        request_started.connect(_open, dispatch_uid="saga_es")


def _open(**_: Any) -> None:
    from saga_es.django.starting import nodes  # noqa: PLC0415 (the registry is not complete while this is imported)

    if not nodes().is_open:
        with suppress(StoreUnavailable):  # who starts a saga is told
            nodes().opened()
