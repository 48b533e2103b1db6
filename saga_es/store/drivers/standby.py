"""Whether a commit has reached PostgreSQL's standby, where it is to be waited for.

Somebody may cancel that wait. COMMIT then says that all went well, with a warning: the one warning that a commit of
ours can bring. What it committed stands on the primary alone, and is lost with it.
"""

from __future__ import annotations

from typing import Any

from saga_es.errors import NotOnStandby

_WARNING = "saga_es_warning"
"""The attribute of a connection that holds what was warned of on it; other databases' have none."""


def listen(driver: Any) -> None:
    """Keep what PostgreSQL warns of on this connection."""

    def note(said: Any) -> None:
        if said.severity_nonlocalized == "WARNING":
            setattr(driver, _WARNING, said.message_primary)

    driver.add_notice_handler(note)


def forget(driver: Any) -> None:
    """What was warned of until now is not about the commit that follows."""
    if getattr(driver, _WARNING, None) is not None:
        setattr(driver, _WARNING, None)


def check(driver: Any) -> None:
    """Make sure that the commit just now came without a warning.

    Raises:
        NotOnStandby: It did not.
    """
    warning = getattr(driver, _WARNING, None)
    if warning is not None:
        forget(driver)
        raise NotOnStandby(warning)
