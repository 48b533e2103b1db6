"""Scripts and markup that somebody may store in any field of a saga, and sagas that carry them."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

from saga_es import Saga, StepContext, StepRejected
from saga_es.runtime.engine import Engine
from tests.support.trips import until

PAYLOADS = [
    "<script>alert(1)</script>",
    "</textarea><script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "</svg><svg onload=alert(1)>",
    "<style>*{display:none}</style>",
    "javascript:alert(1)",
    "{{ 7 * 7 }}{% include 'base.html' %}",
    "%(name)s %s &lt;b&gt; &#60;b&#62;",
    "<!--",
    "]]><a href='https://evil.example'>x</a>",
    "\u202eevil\u2066",
]

MIXED = [" ".join(PAYLOADS[first : first + 3]) for first in range(0, len(PAYLOADS), 3)]
"""All of them in fewer texts, none too long for a name: for tests that open many pages."""


def carrying(payload: str) -> Saga:
    """A definition that has the payload in its names and titles, its results, its errors and its reports."""
    saga = Saga(payload)

    @saga.step(title=payload)
    def take(context: StepContext) -> dict[str, str]:
        context.progress({payload: payload})
        return {payload: payload}

    @saga.compensates(take)
    def give_back() -> None:
        raise StepRejected(payload)

    @saga.step(title=payload, over="input[many]", compensation=None)
    def each(item: str) -> str:
        return item

    saga.wait_for("word", timeout_s=None, title=payload)

    @saga.step(title=payload, compensation=None)
    def refuse() -> None:
        raise StepRejected(payload)

    return saga


def begun(engine: Engine, payload: str) -> str:
    """A saga that has the payload in its id, its tags and its input, and waits for a signal; its id."""
    saga_id = f"{uuid4().hex[:4]} {payload.replace('/', '|')}"[:64].replace("\u202e", "").replace("\u2066", "")
    tags: dict[str, Any] = {payload.replace(":", ";")[:64]: payload}
    engine.start(payload, {payload: payload, "many": [payload] * 9}, saga_id=saga_id, tags=tags)
    until(lambda: engine.status(saga_id).steps[2].status == "IN_PROGRESS")
    return saga_id


def carried(engine: Engine, payload: str) -> str:
    """The same with the payload in its signal and in what people wrote of it, and FAILED; its id."""
    saga_id = begun(engine, payload)
    engine.signal(saga_id, "word", {payload: payload}, key=payload)
    until_failed(engine, saga_id)
    engine.retry(saga_id, reason=payload, actor=payload)
    until_failed(engine, saga_id)
    return saga_id


def until_failed(engine: Engine, saga_id: str) -> None:
    """Wait until a saga is FAILED."""
    until(lambda: engine.status(saga_id).status == "FAILED")
