"""What a group of commands hands to its commands: another application's group may hand over more than `saga-es`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from saga_es.node.app import App  # the help needs none


class Inherited(NamedTuple):
    """Settings and application that a group hands to its commands.

    Attributes:
        flags: Settings by name; an option after the command overrides them.
        app: The application; None: the setting `app` names it.
    """

    flags: Mapping[str, Any] = {}
    app: App | None = None
