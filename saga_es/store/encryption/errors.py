"""Why a key cannot be had. A key service that is away is an outage; all else is not."""

from __future__ import annotations

from saga_es.errors import SagaError, StoreUnavailable

ENCRYPTED = "(encrypted)"
"""What stands for a value that this process cannot read."""

ERASED = "(erased)"
"""What stands for a value that nobody can read any more."""


class NoKey(SagaError):
    """The key of a saga's subject cannot be had here, so nothing can be added to the saga.

    Attributes:
        shown: What stands for values under this key.
    """

    shown = ENCRYPTED


class NoKeysHere(NoKey):
    """This process has no key to unwrap keys with."""

    def __init__(self, key_id: str) -> None:
        super().__init__(f"the saga is encrypted under key {key_id}; set SAGA_ES_ENCRYPTION_KEY_FILE in this process")


class KeyErased(NoKey):
    """The subject was erased."""

    shown = ERASED

    def __init__(self, key_id: str) -> None:
        super().__init__(
            f"key {key_id} is gone, because the subject of the saga was erased: the saga is parked and takes no command"
        )


class WrongKey(NoKey):
    """A key cannot be unwrapped with what this process has, or it may not be."""


class KeysAway(StoreUnavailable):
    """What unwraps the keys does not answer; it is asked again, as a database is."""
