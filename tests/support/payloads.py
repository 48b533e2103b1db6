"""Scripts and markup that somebody may store in any field of a saga, and sagas that carry them."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

from saga_es import Saga, StepRejected
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


def carrying(payload: str) -> Saga:
    """A definition that has the payload in its names and titles, its results and its errors."""
    saga = Saga(payload)

    @saga.step(title=payload)
    def take() -> dict[str, str]:
        return {payload: payload}

    @saga.compensates(take)
    def give_back() -> None:
        raise StepRejected(payload)

    @saga.step(title=payload, compensation=None)
    def refuse() -> None:
        raise StepRejected(payload)

    return saga


def carried(engine: Engine, payload: str) -> str:
    """A saga that has the payload in its id, its tags, its input and what people wrote of it, and FAILED; its id."""
    saga_id = f"{uuid4().hex[:4]} {payload.replace('/', '|')}"[:64].replace("\u202e", "").replace("\u2066", "")
    tags: dict[str, Any] = {payload.replace(":", ";"): payload}
    engine.start(payload, {payload: payload}, saga_id=saga_id, tags=tags)
    _until_failed(engine, saga_id)
    engine.retry(saga_id, reason=payload, actor=payload)
    _until_failed(engine, saga_id)
    return saga_id


def _until_failed(engine: Engine, saga_id: str) -> None:
    until(lambda: engine.status(saga_id).status == "FAILED")
