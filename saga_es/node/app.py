"""What an application gives to saga_es: its sagas, its views, and the parts that can be served."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from saga_es.core.upcasters import Upcasters
from saga_es.definition.saga import Saga
from saga_es.store.views.kinds import Projection


class App(msgspec.Struct, frozen=True):
    """An application; the setting `app` names the module that has one.

    Attributes:
        name: Shown by the API.
        version: Shown by the API.
        sagas: The definitions.
        views: Views of the log, kept beside the built-in view `sagas`.
        events: The event classes of each category the application writes to.
        upcasters: By category, type and schema: the fields of an older event, as they are in the next schema.
        parts: Flask-smorest blueprints by part; `serve --only` picks among the parts.
        everywhere: Blueprints that are served whichever parts are.
    """

    name: str
    version: str
    sagas: Sequence[Saga] = ()
    views: Sequence[Projection] = ()
    events: Mapping[str, Sequence[type[Any]]] = {}
    upcasters: Upcasters = {}
    parts: Mapping[str, Sequence[Any]] = {}
    everywhere: Sequence[Any] = ()
