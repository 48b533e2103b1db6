"""The commands that the pages offer: those that the saga can follow and its viewer may give."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from saga_es.access.permissions import Permission
from saga_es.api.access import principal
from saga_es.console.following import ACTIONS, Offer, offers
from saga_es.core.state import SagaState

_OTHERS = {
    **dict.fromkeys(("retry", "resume", "pause", "cancel"), Permission.OPERATE),
    "signal": Permission.SIGNAL,
}

COMMANDS: Mapping[str, Permission] = {name: _OTHERS.get(name, Permission.RESOLVE) for name in ACTIONS}
"""The permission of each command."""


def offered(state: SagaState, now: datetime) -> list[Offer]:
    """The commands that the viewer may give, with why the saga cannot follow them now."""
    return [offer for offer in offers(state, now) if principal().may(COMMANDS[offer.name])]
