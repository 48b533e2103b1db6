"""saga_es: sagas over several services, every step an immutable event in your own database.

Each name is imported when it is first used: a command of the command line pays only for what it needs.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from saga_es.core.plan import RetryPolicy
    from saga_es.core.state import SagaStatus
    from saga_es.definition.requests import Participant
    from saga_es.definition.saga import Saga
    from saga_es.definition.schedules import Every
    from saga_es.errors import (
        CommandRefused,
        DefinitionError,
        NotFound,
        SagaError,
        SagaExists,
        StepRejected,
        StepUnavailable,
        StoreUnavailable,
    )
    from saga_es.node.app import App, Scenario
    from saga_es.node.opening import open_engine
    from saga_es.runtime.calls.context import StepContext
    from saga_es.runtime.engine import Engine
    from saga_es.runtime.handle import Handle, SagaResult

__all__ = [
    "App",
    "CommandRefused",
    "DefinitionError",
    "Engine",
    "Every",
    "Handle",
    "NotFound",
    "Participant",
    "RetryPolicy",
    "Saga",
    "SagaError",
    "SagaExists",
    "SagaResult",
    "SagaStatus",
    "Scenario",
    "StepContext",
    "StepRejected",
    "StepUnavailable",
    "StoreUnavailable",
    "open_engine",
]

_WHERE = {
    "App": "saga_es.node.app",
    "CommandRefused": "saga_es.errors",
    "DefinitionError": "saga_es.errors",
    "Engine": "saga_es.runtime.engine",
    "Every": "saga_es.definition.schedules",
    "Handle": "saga_es.runtime.handle",
    "NotFound": "saga_es.errors",
    "Participant": "saga_es.definition.requests",
    "RetryPolicy": "saga_es.core.plan",
    "Saga": "saga_es.definition.saga",
    "SagaError": "saga_es.errors",
    "SagaExists": "saga_es.errors",
    "SagaResult": "saga_es.runtime.handle",
    "SagaStatus": "saga_es.core.state",
    "Scenario": "saga_es.node.app",
    "StepContext": "saga_es.runtime.calls.context",
    "StepRejected": "saga_es.errors",
    "StepUnavailable": "saga_es.errors",
    "StoreUnavailable": "saga_es.errors",
    "open_engine": "saga_es.node.opening",
}
"""The module of each public name."""


if not TYPE_CHECKING:  # a type checker knows the names, and refuses others

    def __getattr__(name: str) -> object:
        if name not in _WHERE:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        found = globals()[name] = getattr(import_module(_WHERE[name]), name)
        return found

    def __dir__() -> list[str]:
        return sorted({*globals(), *_WHERE})
