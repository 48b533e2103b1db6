"""saga_es: sagas over several services, every step an immutable event in your own database."""

from saga_es.core.plan import RetryPolicy
from saga_es.core.state import SagaStatus
from saga_es.definition.requests import Participant
from saga_es.definition.saga import Saga
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
