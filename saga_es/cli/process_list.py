"""Secrets on the command line: every user of a machine may read the arguments of every process."""

from __future__ import annotations

from collections.abc import Sequence

from saga_es.logs import logger
from saga_es.node.settings import PREFIX, Settings
from saga_es.store.drivers.url import secrets_of


def warn_of_secrets(settings: Settings, arguments: Sequence[str]) -> None:
    """Log each setting whose secret stands in the arguments of this process.

    Args:
        settings: The settings as they were loaded.
        arguments: The arguments of the process, its name first.
    """
    given = (
        ("--database-url", settings.database_url, secrets_of(settings.database_url), "--database-url-file"),
        ("--webhook-secret", settings.webhook_secret, settings.webhook_secret, f"{PREFIX}WEBHOOK_SECRET"),
        ("--publish", settings.publish, "@" in settings.publish, f"{PREFIX}PUBLISH"),
        ("--webhook", settings.webhook, "?" in settings.webhook, f"{PREFIX}WEBHOOK"),
    )
    for flag, value, is_secret, cure in given:
        if is_secret and any(value in argument for argument in arguments[1:]):
            problem = f"the secret of {flag} stands in the list of processes, for every user of this machine"
            logger.warning("a secret can be read by others", problem=problem, cure=f"use {cure}")
