"""Whether a commit has reached PostgreSQL's standby, where commits wait for it.

Somebody may cancel that wait. COMMIT then succeeds with a warning, the only warning that a commit of ours can bring.
Its writes are on the primary alone, and are lost with it.
"""

from __future__ import annotations

from typing import Any

from saga_es.errors import NotOnStandby

_WARNING = "saga_es_warning"
"""The attribute of a connection that holds its latest warning; connections to other databases have none."""


def listen(driver: Any) -> None:
    """Keep the warnings of PostgreSQL on this connection."""

    def note(said: Any) -> None:
        if said.severity_nonlocalized == "WARNING":
            setattr(driver, _WARNING, said.message_primary)

    driver.add_notice_handler(note)


def forget(driver: Any) -> None:
    """Discard earlier warnings: they are not about the next commit."""
    if getattr(driver, _WARNING, None) is not None:
        setattr(driver, _WARNING, None)


def check(driver: Any) -> None:
    """Check that the latest commit came without a warning.

    Raises:
        NotOnStandby: It came with a warning.
    """
    warning = getattr(driver, _WARNING, None)
    if warning is not None:
        forget(driver)
        raise NotOnStandby(warning)
