"""An application of saga_es: its sagas, its views, and the blueprints that it serves."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from saga_es.access.authenticate import Authenticate
from saga_es.core.upcasters import Upcasters
from saga_es.definition.saga import Saga, family
from saga_es.definition.schedules import Every
from saga_es.publish.callbacks import OnEvent
from saga_es.publish.publish import Publish
from saga_es.runtime.calls.around import Around, Wrapping
from saga_es.store.encryption.wrapping import KeyWrapper
from saga_es.store.views.kinds import Projection


class Scenario(msgspec.Struct, frozen=True):
    """A saga to start from the console's page Demo.

    Attributes:
        title: What its button says.
        about: What one will see.
        saga: The definition's name.
        input: The input that it starts with.
    """

    title: str
    about: str
    saga: str
    input: Mapping[str, Any]


class App(msgspec.Struct, frozen=True, kw_only=True):
    """An application; the setting `app` names the module that holds it.

    Attributes:
        name: The name that the API shows.
        version: The version that the API shows.
        sagas: The definitions.
        views: Views of the log, kept beside the built-in view `sagas`.
        events: The event classes of each category of the application, by category.
        upcasters: Functions that bring an older event's fields to the next schema, by category, type and schema.
        blueprints: The blueprints served beside the saga API, by name; `serve --only` chooses among the names. A list
            of blueprints uses the blueprints' own names.
        everywhere: Blueprints that are served whatever `serve --only` chooses.
        around: Makes a context manager that stands around every call of a step: a function of the call's
            `StepContext`, or of nothing; or several of them, the outermost first.
        loop: The event loop for `async def` steps. Without it, the loop in which `open_engine` is called, if it is
            called in one, else loops of the engine's own.
        carries_context: Whether the steps of a saga get the context variables (`contextvars`) of the code that started
            it, as long as it runs in this process.
        on_event: A function that is told of each event of a saga (a `Recorded`), once it is in the log, by one process
            at a time and at least once; or several of them. A new one is told of what happens from then on.
        publish: What is published to brokers: URLs, or `Publish` where not all events are, or in another form.
        schedules: Sagas that are started at times; they need not be among `sagas`.
        scenarios: Sagas that people can start from the console's page Demo.
        auth: Takes a Flask request to the `Principal` who sent it, or to None; or the name of an authentication. The
            setting `auth` overrides it.
        key_wrapper: What wraps the keys of subjects, such as a key service; a key file takes its place.
    """

    name: str = "saga_es"
    version: str = "0"
    sagas: Sequence[Saga] = ()
    views: Sequence[Projection] = ()
    events: Mapping[str, Sequence[type[Any]]] = {}
    upcasters: Upcasters = {}
    blueprints: Mapping[str, Sequence[Any]] | Sequence[Any] = ()
    everywhere: Sequence[Any] = ()
    around: Around | Sequence[Around] = ()
    loop: asyncio.AbstractEventLoop | None = None
    carries_context: bool = False
    on_event: OnEvent | Sequence[OnEvent] = ()
    publish: Sequence[Publish | str] = ()
    schedules: Sequence[Every] = ()
    scenarios: Sequence[Scenario] = ()
    auth: Authenticate | str | None = None
    key_wrapper: KeyWrapper | None = None

    @property
    def definitions(self) -> Sequence[Saga]:
        """The sagas, those that only schedules start, and their children, each once.

        Raises:
            DefinitionError: Two of them have the same name.
        """
        return family([*self.sagas, *(every.saga for every in self.schedules)])

    @property
    def wrapping(self) -> Wrapping:
        """What stands around every call."""
        return Wrapping([self.around] if callable(self.around) else self.around)

    @property
    def callbacks(self) -> Sequence[OnEvent]:
        """The functions that are told of events."""
        return [self.on_event] if callable(self.on_event) else self.on_event

    @property
    def named_blueprints(self) -> Mapping[str, Sequence[Any]]:
        """The blueprints by the names that `serve --only` knows."""
        if isinstance(self.blueprints, Mapping):
            return self.blueprints
        return {blueprint.name: [blueprint] for blueprint in self.blueprints}


def application(app: App | None, sagas: Sequence[Saga] = (), **options: Any) -> App:
    """The given application, or one made from keywords.

    Args:
        app: The application; None: make one from the keywords.
        sagas: The definitions.
        options: The other attributes of `App`.

    Raises:
        TypeError: Both an application and keywords are given.
    """
    if app is None:
        return App(sagas=sagas, **options)
    given = sorted({**options, **({"sagas": sagas} if sagas else {})})
    if given:
        raise TypeError(f"an App is given, and also {', '.join(given)}: give them to the App")
    return app


BARE = App()
"""An empty application: sagas can be read and commanded, but none is run."""
