"""The keys of subjects, as settings and application say."""

from __future__ import annotations

from importlib.util import find_spec

from saga_es.errors import SettingsError
from saga_es.node.app import App
from saga_es.node.settings import Settings
from saga_es.store.database import Database
from saga_es.store.encryption.keyring import Keyring
from saga_es.store.encryption.wrapping import KeyFile


def keyring_of(settings: Settings, app: App, database: Database) -> Keyring | None:
    """The keys of subjects; None: nothing is encrypted.

    Raises:
        SettingsError: The key file cannot be used, or the package that encrypts is missing.
    """
    if settings.encryption_key_file is None and app.key_wrapper is None:
        return None
    if find_spec("cryptography") is None:
        raise SettingsError(
            ["SAGA_ES_ENCRYPTION_KEY_FILE: it needs the extra `encryption`: pip install 'saga-es[encryption]'"]
        )
    file = settings.encryption_key_file
    wrapper = KeyFile(file) if file is not None else app.key_wrapper
    assert wrapper is not None, "one of the two is given"
    return Keyring(database, wrapper)
