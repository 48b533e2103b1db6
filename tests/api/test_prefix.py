"""Behind a proxy that serves us below a prefix: every place that an answer names is where the caller finds it."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import urljoin

import flask
import pytest

from saga_es.api.prefix import Prefixed
from tests.api.conftest import OpenNode

EXECUTE = "/api/saga/execute"
ASYNC = {"Prefer": "respond-async"}


@pytest.mark.parametrize("prefix", ["", "/shop", "/a/b"])
def test_a_location_begins_with_the_prefix(open_node: OpenNode, prefix: str) -> None:
    """The server's `SCRIPT_NAME` says it."""
    client = open_node().client
    answer = client.post(EXECUTE, json={"name": "Concert"}, headers=ASYNC, environ_overrides={"SCRIPT_NAME": prefix})
    assert answer.status_code == 202
    started: Any = answer.json
    assert answer.headers["Location"] == f"{prefix}/api/saga/status/{started['transaction_id']}"


@pytest.mark.parametrize(
    ("proxies", "header", "prefix"),
    [
        (1, "/shop", "/shop"),
        (1, "/shop/", "/shop"),
        (1, "/evil, /shop", "/shop"),
        (2, "/evil, /outer, /inner", "/outer"),
        (2, "/shop", ""),
        (1, "", ""),
        (1, "//evil.example", ""),
        (1, "/a//b", ""),
        (1, "/a/../b", ""),
        (1, "https://evil.example", ""),
        (1, "/a b", ""),
        (1, "/a\\b", ""),
        (1, "/<script>", ""),
    ],
)
def test_a_forwarded_prefix_counts_as_far_as_it_is_trusted(proxies: int, header: str, prefix: str) -> None:
    """What a stranger sends before the proxy adds its own, and what is no path, leads nowhere."""
    app = flask.Flask("shop")

    @app.get("/")
    def root() -> str:
        return flask.request.script_root

    app.wsgi_app = Prefixed(app.wsgi_app, proxies)  # type: ignore[method-assign]
    assert app.test_client().get("/", headers={"X-Forwarded-Prefix": header}).text == prefix


def test_without_trust_a_forwarded_prefix_is_nothing(open_node: OpenNode) -> None:
    """The default."""
    headers = {**ASYNC, "X-Forwarded-Prefix": "/evil"}
    answer = open_node().client.post(EXECUTE, json={"name": "Concert"}, headers=headers)
    assert answer.headers["Location"].startswith("/api/saga/status/")


@pytest.mark.parametrize("prefix", ["", "/shop"])
def test_the_pages_of_the_api_find_their_files_and_the_document(open_node: OpenNode, prefix: str) -> None:
    """Also what the document says of where its paths begin."""
    client = open_node().client
    below = {"SCRIPT_NAME": prefix}
    with client.get("/docs/", environ_overrides=below) as answer:
        page = answer.get_data(as_text=True)
    with client.get("/docs/start.js", environ_overrides=below) as answer:
        script = answer.get_data(as_text=True)
    places = re.findall(r'(?:src|href)="([^"]+)"', page) + re.findall(r'url: "([^"]+)"', script)
    assert len(places) > 3
    for place in places:
        found = urljoin(f"http://localhost{prefix}/docs/", place).removeprefix("http://localhost")
        assert found.startswith(f"{prefix}/")
        with client.get(found.removeprefix(prefix), environ_overrides=below) as answer:
            assert answer.status_code == 200, place
    document: Any = client.get("/openapi.json", environ_overrides=below).json
    assert document.get("servers", [{"url": ""}]) == [{"url": prefix}]
