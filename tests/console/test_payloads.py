"""Whatever a saga carries is shown as text: markup and scripts in every stored field."""

from __future__ import annotations

from typing import Any

import pytest

from saga_es import Saga, StepRejected
from tests.api.conftest import OpenNode, Served
from tests.console.conftest import with_console
from tests.support.journeys_served import app_of
from tests.support.pages import page_of
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


@pytest.mark.parametrize("payload", PAYLOADS)
def test_what_a_saga_carries_is_text_on_every_page(open_node: OpenNode, payload: str) -> None:
    """The pages keep their shape, have no script or style of another, and show the payload as it is."""
    served = with_console(open_node(app_of(saga := carrying(payload))))
    saga_id = f"s {payload.replace('/', '|')}"[:64].replace("\u202e", "").replace("\u2066", "")
    started: dict[str, Any] = {"tags": {payload.replace(":", ";"): payload}}
    served.node.engine.start(saga, {payload: payload}, saga_id=saga_id, **started)
    when_failed(served, saga_id)
    served.node.engine.retry(saga_id, reason=payload, actor=payload)
    when_failed(served, saga_id)
    quoted = served.client.get("/console/jump", query_string={"id": saga_id}).location
    pages = [
        "/console/sagas",
        quoted,
        f"{quoted}?at_version=3&compare=6",
        *(f"{quoted}/{name}" for name in ("retry", "skip", "replace-input", "resolve")),
    ]
    for path in pages:
        page = page_of(served.client.get(path))
        assert payload in "".join(page.texts) or payload in "".join(str(found) for _, found in page.elements)
        assert not [found for tag, found in page.elements if tag in {"img", "style", "iframe", "object"}]
        assert len(page.all("script")) == 1
    for name, query in (("error", payload), ("name", payload), ("tag", f"{payload}:x"), ("since", payload)):
        found = served.client.get("/console/sagas", query_string={name: query})
        page_of(found, found.status_code)


def when_failed(served: Served, saga_id: str) -> None:
    until(lambda: served.node.engine.status(saga_id).status == "FAILED")
