"""The OpenAPI document: valid, complete, true to what the application answers, and readable without a network."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from html.parser import HTMLParser
from itertools import cycle
from typing import Any
from urllib.parse import urljoin

import pytest
import schemathesis
from flask import Flask
from flask.testing import FlaskClient
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from openapi_spec_validator import OpenAPIV31SpecValidator
from schemathesis.checks import (
    not_a_server_error,
    status_code_conformance,
)
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import content_type_conformance, response_schema_conformance

import services
from tests.api.conftest import opened
from tests.api.test_execute import EXECUTE, body_of
from tests.support.journeys_served import app_of, begin, begun, journey, outing, stuck

SERVICES = ("event", "event-details", "venue", "ticket")
COMMANDS = ("cancel", "pause", "resume", "retry", "skip", "replace-input", "resolve", "fail")
ROUTES = {
    ("post", EXECUTE),
    ("get", "/api/saga/status/{transaction_id}"),
    ("get", "/api/saga/list"),
    ("get", "/api/saga/{transaction_id}/events"),
    ("get", "/api/saga/failures"),
    ("post", "/api/saga/replies/{token}"),
    ("get", "/api/saga/definitions"),
    ("get", "/api/saga/system"),
    ("get", "/api/saga/batch"),
    ("post", "/api/saga/batch"),
    ("get", "/api/saga/batch/{batch_id}"),
    ("post", "/api/saga/batch/{batch_id}/stop"),
    ("post", "/api/saga/erase"),
    ("get", "/api/saga/{transaction_id}/explain"),
    ("get", "/api/saga/{transaction_id}/cancel"),
    ("get", "/api/saga/{transaction_id}/migrate"),
    ("post", "/api/saga/{transaction_id}/migrate"),
    *(("post", f"/api/saga/{{transaction_id}}/{command}") for command in COMMANDS),
    ("post", "/api/saga/{transaction_id}/signals/{signal}"),
    ("get", "/api/saga/health"),
    *(("post", f"/api/{service}/register") for service in SERVICES),
    *(("get", f"/api/{service}/{{record_id}}") for service in SERVICES),
    *(("get", f"/api/{service}/list") for service in SERVICES),
    *(("get", f"/api/{service}/health") for service in SERVICES),
    *(("delete", f"/api/{service}/rollback/{{record_id}}") for service in SERVICES),
    ("get", "/"),
    ("get", "/demo/"),
    ("post", "/demo/create-event-complete"),
    ("post", "/demo/simulate-failure"),
    ("get", "/demo/list-transactions"),
    ("get", "/demo/database-status"),
    ("get", "/demo/health-check-all"),
    ("post", "/demo/test-individual-apis"),
}


@pytest.fixture(scope="module")
def app(kept_database_url: str) -> Iterator[Flask]:
    """The whole demo application."""
    with ExitStack() as stack:
        yield opened(stack, kept_database_url, services.app).app


@pytest.fixture
def document(kept_client: FlaskClient) -> dict[str, Any]:
    """The OpenAPI document as it is served."""
    return body_of(kept_client.get("/openapi.json"), 200)


# ── The document ─────────────────────────────────────────────────────────────────────────────────────────


def test_the_document_is_valid_openapi_3_1(document: dict[str, Any]) -> None:
    """The validator has nothing to say against it."""
    assert document["openapi"].startswith("3.1")
    assert [error.message for error in OpenAPIV31SpecValidator(document).iter_errors()] == []


def test_the_document_names_every_route_of_the_contract_and_no_other(document: dict[str, Any]) -> None:
    """What is served is written down, and the other way round."""
    verbs = {"get", "post", "put", "patch", "delete"}
    assert {(verb, path) for path, item in document["paths"].items() for verb in verbs & item.keys()} == ROUTES


def test_execute_documents_every_answer_of_the_contract(document: dict[str, Any]) -> None:
    """Completed, accepted, rolled back, bad body, and a person needed; and both of its headers."""
    execute = document["paths"][EXECUTE]["post"]
    assert {"200", "202", "409", "422", "500"} <= execute["responses"].keys()
    headers = {about["name"] for about in execute["parameters"] if about["in"] == "header"}
    assert headers == {"Idempotency-Key", "Prefer"}


def test_the_document_asks_no_other_host_for_anything(document: dict[str, Any]) -> None:
    """No server and no reference is anywhere else."""
    assert re.findall(r'"\$ref": *"(?!#)', str(document)) == []
    assert all(server["url"].startswith("/") for server in document.get("servers", []))


# ── The pages ────────────────────────────────────────────────────────────────────────────────────────────


class Links(HTMLParser):
    """What a page has the browser load."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Remember addresses."""
        del tag
        self.found += [value for name, value in attrs if name in {"src", "href"} and value]


def test_the_docs_page_and_its_assets_come_from_here(kept_client: FlaskClient) -> None:
    """Every script, style and icon is on this host and is served; styles load nothing from elsewhere."""
    with kept_client.get("/docs/") as page:
        text = page.get_data(as_text=True)
        assert (page.status_code, page.mimetype) == (200, "text/html")
    links = Links()
    links.feed(text)
    assert len(links.found) >= 4
    assert set(re.findall(r"https?://[^/\"']+", text)) <= {"http://localhost"}, "the test client's own host"
    for link in (urljoin("/docs/", link) for link in links.found):
        assert link.startswith("/docs/"), link
        with kept_client.get(link) as asset:
            assert asset.status_code == 200, link
            assert asset.data
            if asset.mimetype == "text/css":
                assert not re.search(rb"(url\(|@import)\s*['\"]?(https?:)?//", asset.data)


def test_the_docs_page_sends_the_document_to_no_validator(kept_client: FlaskClient) -> None:
    """Swagger UI shows a badge from validator.swagger.io unless told not to."""
    with kept_client.get("/docs/start.js") as script:
        config = script.get_data(as_text=True)
    assert re.search(r"validatorUrl: *null", config), config


# ── Its truth ────────────────────────────────────────────────────────────────────────────────────────────

CHECKS = (not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance)
NEEDS_A_PERSON = {"success", "transaction_id", "status", "message", "failed_step", "rollback_completed", "error"}


def test_whatever_the_document_allows_is_answered_as_it_says(app: Flask) -> None:
    """Generated requests to every route, right and wrong ones: no server error, and answers of the documented form."""
    document = schemathesis.openapi.from_wsgi("/openapi.json", app)
    operations = [result.ok() for result in document.get_all_operations() if isinstance(result, Ok)]
    assert {(operation.method, operation.path) for operation in operations} == ROUTES
    failures = [said for operation in operations for said in failures_of(operation)]
    assert failures == [], "\n\n".join(failures)


def test_what_is_asked_of_sagas_that_are_there_is_answered_as_it_says(kept_database_url: str) -> None:
    """The same for one that waits, for one that needs a person, and for one with parts that runs another."""
    with ExitStack() as stack:
        inner = journey()
        served = opened(stack, kept_database_url, app_of(inner, outing(inner)))
        started: list[Callable[[], str]] = [
            lambda: begun(served),
            lambda: stuck(served),
            lambda: begin(served, "outing", guests=["Ann", "Bob"]),
        ]
        sagas = cycle(started)

        def aim(case: schemathesis.Case[Any]) -> None:
            case.path_parameters = {"transaction_id": next(sagas)()}
            if "{signal}" in case.path:
                case.path_parameters["signal"] = "approval"

        document = schemathesis.openapi.from_wsgi("/openapi.json", served.app)
        operations = [result.ok() for result in document.get_all_operations() if isinstance(result, Ok)]
        about_one = [operation for operation in operations if "{transaction_id}" in operation.path]
        assert len(about_one) == 15
        failures = [said for operation in about_one for said in failures_of(operation, aim)]
    assert failures == [], "\n\n".join(failures)


def failures_of(
    operation: schemathesis.APIOperation[Any, Any, Any, Any],
    aim: Callable[[schemathesis.Case[Any]], None] = lambda _: None,
    examples: int = 8,
    headers: dict[str, str] | None = None,
) -> Iterator[str]:
    """What is wrong with a route's answers, found with a handful of right requests and of wrong ones."""
    can_be_wrong = bool(operation.body or list(operation.query) or list(operation.path_parameters))
    modes = [schemathesis.GenerationMode.POSITIVE, *([schemathesis.GenerationMode.NEGATIVE] * can_be_wrong)]
    for mode in modes:

        @given(case=operation.as_strategy(generation_mode=mode))
        @settings(
            max_examples=min(4, examples) if operation.path.startswith("/demo") else examples,
            deadline=None,
            database=None,
            derandomize=True,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        def answers_are_as_documented(case: schemathesis.Case[Any]) -> None:
            aim(case)
            response = case.call(headers=headers)
            if case.path == EXECUTE and response.status_code == 500:
                assert response.json().keys() >= NEEDS_A_PERSON, "execute answers 500 only as documented"
                return
            case.validate_response(response, checks=list(CHECKS))

        try:
            answers_are_as_documented()
        except Unsatisfiable:
            continue  # the generator found nothing that could be wrong
        except (AssertionError, BaseExceptionGroup) as error:
            yield f"{operation.label} ({mode.value}): {error}"
