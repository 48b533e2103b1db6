"""What an application gives to saga_es: its sagas, its views, and the parts that can be served."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from saga_es.core.upcasters import Upcasters
from saga_es.definition.saga import Saga
from saga_es.store.views.kinds import Projection


class App(msgspec.Struct, frozen=True, kw_only=True):
    """An application; the setting `app` names the module that has one.

    Attributes:
        name: Shown by the API.
        version: Shown by the API.
        sagas: The definitions.
        views: Views of the log, kept beside the built-in view `sagas`.
        events: The event classes of each category the application writes to.
        upcasters: By category, type and schema: the fields of an older event, as they are in the next schema.
        blueprints: What is served beside the saga API, by name; `serve --only` picks among the names. A list stands for
            blueprints that go by their own names.
        everywhere: Blueprints that are served whichever names are picked.
    """

    name: str = "saga_es"
    version: str = "0"
    sagas: Sequence[Saga] = ()
    views: Sequence[Projection] = ()
    events: Mapping[str, Sequence[type[Any]]] = {}
    upcasters: Upcasters = {}
    blueprints: Mapping[str, Sequence[Any]] | Sequence[Any] = ()
    everywhere: Sequence[Any] = ()

    @property
    def named_blueprints(self) -> Mapping[str, Sequence[Any]]:
        """The blueprints by the names that `serve --only` knows."""
        if isinstance(self.blueprints, Mapping):
            return self.blueprints
        return {blueprint.name: [blueprint] for blueprint in self.blueprints}


def application(app: App | None, sagas: Sequence[Saga] = (), **options: Any) -> App:
    """The application that is given whole, or by its keywords.

    Args:
        app: The application; None: it is made of the rest.
        sagas: Its definitions.
        options: The other attributes of `App`.

    Raises:
        TypeError: It is given in both ways.
    """
    if app is None:
        return App(sagas=sagas, **options)
    given = sorted({**options, **({"sagas": sagas} if sagas else {})})
    if given:
        raise TypeError(f"an App is given, and {', '.join(given)} beside it: give them to the App")
    return app


BARE = App()
"""No application: sagas can be read and commanded, and none is run."""
