"""Whom a process tells about events: functions of its application, webhooks, and brokers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from saga_es.errors import DefinitionError
from saga_es.node.app import App
from saga_es.node.settings import Settings
from saga_es.publish.callbacks import Callback
from saga_es.publish.publish import Broker, Publish
from saga_es.publish.publisher import Publisher, Target
from saga_es.publish.webhook import Webhook
from saga_es.store.database import Database
from saga_es.store.log.log import Log
from saga_es.store.publishers import Publishers


def publishers_of(settings: Settings, app: App, database: Database, log: Log) -> list[Publisher]:
    """A publisher for each target.

    Raises:
        DefinitionError: A function cannot be told of events, a URL is none of a broker, or two have the same name.
        NotInstalled: The client of a broker is not.
    """
    targets: list[Target] = [Callback(function, log) for function in app.callbacks]
    targets += [Webhook(url, settings.webhook_secret) for url in dict.fromkeys(settings.webhooks)]
    targets += _brokers([*app.publish, *dict.fromkeys(settings.brokers)])
    for name, count in Counter(target.name for target in targets).items():
        if count > 1:
            raise DefinitionError(
                f"{name}: {count} publishers have this name, by which the log remembers how far each is; rename the "
                "function, or give `Publish` a name"
            )
    return [Publisher(database, log, target, Publishers(database)) for target in targets]


def _brokers(places: Sequence[Publish | str]) -> list[Broker]:
    try:
        return [Broker(Publish(place) if isinstance(place, str) else place) for place in places]
    except ValueError as error:
        raise DefinitionError(f"publish: {error}") from error
