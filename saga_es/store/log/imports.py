"""The streams that say how sagas came into this log from files: one beside each saga that was imported."""

from __future__ import annotations

from collections.abc import Iterable
from uuid import UUID, uuid5

from saga_es.core import events as e
from saga_es.store.log.entries import Recorded

_NAMESPACE = UUID("5e0fa8a5-0a0b-5d0e-9a6c-2f6f0b1c7d44")


def import_of(saga_id: str) -> str:
    """The id of the stream with the imports of a saga. Nobody needs an index to find it."""
    return str(uuid5(_NAMESPACE, saga_id))


def is_foreign(imports: Iterable[Recorded]) -> bool:
    """Whether these imports brought the saga from another log."""
    return any(isinstance(found.event, e.SagaImported) and found.event.foreign for found in imports)
