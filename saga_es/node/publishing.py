"""Whom a process tells about events: the functions of its application, and the webhooks of its settings."""

from __future__ import annotations

from collections import Counter

from saga_es.errors import DefinitionError
from saga_es.node.app import App
from saga_es.node.settings import Settings
from saga_es.publish.callbacks import Callback
from saga_es.publish.publisher import Publisher, Target
from saga_es.publish.webhook import Webhook
from saga_es.runtime.ids import new_id
from saga_es.store.database import Database
from saga_es.store.log.log import Log
from saga_es.store.publishers import Publishers


def publishers_of(settings: Settings, app: App, database: Database, log: Log) -> list[Publisher]:
    """A publisher for each target.

    Raises:
        DefinitionError: A function cannot be told of events, or two of them have the same name.
    """
    targets: list[Target] = [Callback(function, log) for function in app.callbacks]
    targets += [Webhook(url, settings.webhook_secret) for url in dict.fromkeys(settings.webhooks)]
    for name, count in Counter(target.name for target in targets).items():
        if count > 1:
            raise DefinitionError(
                f"{name}: {count} functions have this name, by which the log remembers how far it was told"
            )
    rows, holder = Publishers(database), f"process-{new_id()}"
    return [Publisher(database, log, target, holder, rows) for target in targets]
