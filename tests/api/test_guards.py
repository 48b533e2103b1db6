"""Another site's page can do nothing here: hosts, origins and content types are checked, and every answer says so."""

from __future__ import annotations

import re

import pytest
from flask import Flask
from flask.testing import FlaskClient

from saga_es import Saga
from saga_es.flask import SagaES
from tests.api.conftest import OpenNode
from tests.api.test_execute import EXECUTE, body_of
from tests.support.trips import until

SHOW = {"name": "Evening Concert"}
OWN = ("localhost", "localhost:5000", "127.0.0.1:5000", "[::1]:5000", "LOCALHOST")
FOREIGN = (
    "evil.example",
    "evil.example:5000",
    "localhost.evil.example",
    "127.0.0.1.evil.example",
    "evil.example#localhost",
    "localhost@evil.example",
    "0.0.0.0",  # noqa: S104 (a name that is asked for, nothing is bound)
    "127.1",
    "",
    "[::ffff:1.2.3.4]",
    "xn--lcalhost-54a",
)


@pytest.mark.parametrize("host", OWN)
def test_a_name_of_this_machine_is_answered(kept_client: FlaskClient, host: str) -> None:
    """Whatever the port: a forwarded one is another."""
    assert kept_client.get("/api/saga/health", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize("host", FOREIGN)
@pytest.mark.parametrize("path", ["/", "/api/saga/list", "/docs/", "/openapi.json", "/nothing"])
def test_another_host_is_421(kept_client: FlaskClient, host: str, path: str) -> None:
    """A stranger's name may lead to this address; what comes by it is not for us."""
    answer = kept_client.get(path, headers={"Host": host})
    assert answer.status_code == 421, host
    assert "SAGA_ES_ALLOWED_HOSTS" in body_of(answer, 421)["detail"]


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/metrics"])
def test_probes_and_scrapers_come_by_address(kept_client: FlaskClient, path: str) -> None:
    """A pod's address is no name that anybody could list."""
    assert kept_client.get(path, headers={"Host": "10.1.2.3:5000"}).status_code == 200


def test_further_names_are_a_setting(open_node: OpenNode) -> None:
    """Whole names, or all names below one."""
    client = open_node(allowed_hosts="shop.example, .internal.example").client
    for host in ("shop.example", "shop.example:8443", "a.internal.example"):
        assert client.get("/api/saga/health", headers={"Host": host}).status_code == 200, host
    for host in ("xshop.example", "evil.shop.example", "internal.example.evil"):
        assert client.get("/api/saga/health", headers={"Host": host}).status_code == 421, host


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://localhost:6000"},
        {"Origin": "http://localhost.evil.example"},
        {"Origin": "http://evil.example@localhost:x"},
        {"Origin": ""},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "surprise"},
        {"Origin": "http://localhost", "Sec-Fetch-Site": "cross-site"},
    ],
    ids=str,
)
@pytest.mark.parametrize("path", [EXECUTE, "/api/saga/x/cancel", "/demo/create-event-complete"])
def test_what_a_page_of_another_site_sends_is_403(kept_client: FlaskClient, path: str, headers: dict[str, str]) -> None:
    """Also where no body is needed, and whatever it says of its content."""
    for content_type in ("application/json", "text/plain", None):
        answer = kept_client.post(
            path, data=b"{}" if content_type else None, content_type=content_type, headers=headers
        )
        assert answer.status_code == 403, content_type
    assert kept_client.delete("/api/event/rollback/x", headers=headers).status_code == 403


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://localhost"},
        {"Origin": "https://localhost"},
        {"Origin": "http://localhost:80", "Sec-Fetch-Site": "same-origin"},
        {"Sec-Fetch-Site": "none"},
        {},
    ],
    ids=str,
)
def test_a_page_of_this_server_and_no_page_at_all_may_send(kept_client: FlaskClient, headers: dict[str, str]) -> None:
    """A proxy may speak TLS in front of it."""
    assert kept_client.post(EXECUTE, json=SHOW, headers=headers).status_code == 200


@pytest.mark.parametrize("content_type", [None, "", "text/plain", "application/x-www-form-urlencoded", "text/json"])
@pytest.mark.parametrize("path", [EXECUTE, "/api/event/register", "/api/saga/x/cancel", "/api/saga/x/signals/go"])
def test_a_post_without_a_body_must_say_that_it_is_json(
    kept_client: FlaskClient, path: str, content_type: str | None
) -> None:
    """A form of another site can be empty, too."""
    assert kept_client.post(path, content_type=content_type).status_code == 415


def test_the_demonstrations_own_calls_need_no_body(kept_client: FlaskClient) -> None:
    """So that they can be typed; a body of another type is refused all the same."""
    assert kept_client.post("/demo/create-event-complete").status_code == 200
    assert kept_client.post("/demo/create-event-complete", data=b"a=b", content_type="text/plain").status_code == 415


def test_a_delete_needs_no_content_type(kept_client: FlaskClient) -> None:
    """It has no body."""
    assert kept_client.delete("/api/event/rollback/nobody").status_code == 404


@pytest.mark.parametrize(
    "path", ["/", "/docs/", "/docs/start.js", "/openapi.json", "/api/saga/list", "/nothing", "/livez", "/metrics"]
)
def test_every_answer_says_what_a_browser_may_do_with_it(kept_client: FlaskClient, path: str) -> None:
    """No sniffing, no keeping, no frames, and nothing inline or from elsewhere."""
    with kept_client.get(path) as answer:
        headers = answer.headers
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["Cache-Control"] == "no-store"
    policy = headers["Content-Security-Policy"]
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert "default-src 'none'" in policy


def test_the_pages_have_nothing_inline(kept_client: FlaskClient) -> None:
    """What the policy would refuse is not there: no script, style or handler in the page."""
    with kept_client.get("/docs/") as answer:
        text = answer.get_data(as_text=True)
    assert not re.search(r"<style|\sstyle=|\son\w+=|javascript:", text)
    assert re.findall(r"<script[^>]*>([^<]*)</script>", text) == [""] * text.count("<script")


def test_a_host_application_keeps_its_hosts_and_its_headers(database_url: str, request: pytest.FixtureRequest) -> None:
    """Only what is below our prefix is checked, and by what concerns us."""
    app = Flask("shop")
    app.add_url_rule("/buy", view_func=lambda: "ok", methods=["POST"])
    saga = Saga("order")
    saga.wait_for("word", timeout_s=None)
    SagaES(app, sagas=[saga], database_url=database_url)
    client = app.test_client()
    request.addfinalizer(app.extensions["saga_es"].node.close)
    there = {"Host": "shop.example"}
    assert client.get("/api/saga/list", headers=there).status_code == 200  # opens the node, which a probe does not
    until(lambda: client.get("/api/saga/readyz", headers=there).status_code == 200)  # the first heartbeat is written
    assert client.post("/buy", headers={"Host": "shop.example", "Origin": "https://elsewhere.example"}).data == b"ok"
    assert "Content-Security-Policy" not in client.post("/buy").headers
    for path in ("list", "status/nobody", "openapi.json", "livez", "readyz", "metrics"):
        ours = client.get(f"/api/saga/{path}", headers=there)
        assert ours.status_code == (404 if path.endswith("nobody") else 200), path
        assert ours.headers["X-Content-Type-Options"] == "nosniff", path
        assert ours.headers["Cache-Control"] == "no-store", path
        assert "frame-ancestors 'none'" in ours.headers["Content-Security-Policy"], path
    large = {"actor": "ann", "reason": "x" * 1_048_577}
    refused = client.post("/api/saga/x/cancel", json=large)
    assert refused.status_code == 413
    assert "larger than 1048576 bytes" in body_of(refused, 413)["detail"]
    assert client.post("/buy", data=b"x" * 1_048_577).data == b"ok"
    assert client.post("/api/saga/x/cancel", json={}, headers={"Origin": "https://evil.example"}).status_code == 403
    assert client.post("/api/saga/x/cancel").status_code == 415
