"""Whatever a saga carries is shown as text: markup and scripts in every stored field."""

from __future__ import annotations

import pytest

from tests.api.conftest import OpenNode
from tests.console.conftest import with_console
from tests.support.journeys_served import app_of
from tests.support.pages import page_of
from tests.support.payloads import PAYLOADS, carried, carrying


@pytest.mark.parametrize("payload", PAYLOADS)
def test_what_a_saga_carries_is_text_on_every_page(open_node: OpenNode, payload: str) -> None:
    """The pages keep their shape, have no script or style of another, and show the payload as it is."""
    served = with_console(open_node(app_of(carrying(payload))))
    saga_id = carried(served.node.engine, payload)
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
        assert len(page.all("script")) == 2
    for name, query in (("error", payload), ("name", payload), ("tag", f"{payload}:x"), ("since", payload)):
        found = served.client.get("/console/sagas", query_string={name: query})
        page_of(found, found.status_code)
