"""`/metrics`: what happened in this process, and what the database holds."""

from __future__ import annotations

from flask.testing import FlaskClient
from prometheus_client.parser import text_string_to_metric_families

from saga_es import App, Saga, StepRejected, StepUnavailable
from saga_es.participant import RECORD_EVENTS
from saga_es.store.views import checkpoints
from services.catalogue import SERVICES
from tests.api.conftest import OpenNode
from tests.support.trips import until

SHOW = {"name": "Evening Concert"}

CONTRACT = {
    "saga_es_sagas_started": {"saga"},
    "saga_es_sagas_ended": {"saga", "status"},
    "saga_es_saga_duration_seconds": {"saga", "status"},
    "saga_es_step_attempts": {"saga", "step", "direction", "outcome"},
    "saga_es_step_duration_seconds": {"saga", "step", "direction"},
    "saga_es_takeovers": set(),
    "saga_es_append_duration_seconds": set(),
    "saga_es_append_events": set(),
    "saga_es_open_sagas": {"saga", "status"},
    "saga_es_oldest_open_saga_age_seconds": set(),
    "saga_es_workers_alive": set(),
    "saga_es_view_lag_events": {"view"},
}
"""Names and labels that clients rely on."""


def samples(client: FlaskClient) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """Every sample of the page, by its name and labels."""
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(client.get("/metrics").text)
        for sample in family.samples
    }


def value(client: FlaskClient, name: str, **labels: str) -> float | None:
    """One sample of the page."""
    return samples(client).get((f"saga_es_{name}", frozenset(labels.items())))


def test_the_page_has_the_promised_metrics_with_their_labels(client: FlaskClient) -> None:
    """Also those of the contract that need a saga first."""
    assert client.post("/api/saga/execute", json=SHOW).status_code == 200
    client.post("/api/saga/execute", json={**SHOW, "fail_at_step": "venue"})
    client.post("/api/saga/execute", json=SHOW, headers={"Prefer": "respond-async"})
    families = {family.name: family for family in text_string_to_metric_families(client.get("/metrics").text)}
    for name, labels in CONTRACT.items():
        if name == "saga_es_open_sagas":
            continue
        assert families[name].samples, name
        assert {frozenset(set(sample.labels) - {"le"}) for sample in families[name].samples} == {frozenset(labels)}, (
            name
        )


def test_a_saga_that_is_rolled_back_is_counted_as_it_happened(client: FlaskClient) -> None:
    """Its start, each attempt with its outcome, each compensation, its end."""
    client.post("/api/saga/execute", json={**SHOW, "fail_at_step": "venue"})
    of = {"saga": "create-event"}
    assert value(client, "sagas_started_total", **of) == 1
    assert value(client, "sagas_ended_total", **of, status="COMPENSATED") == 1
    assert value(client, "saga_duration_seconds_count", **of, status="COMPENSATED") == 1
    assert value(client, "sagas_aborted_total", **of) == 1
    action = {**of, "direction": "action"}
    assert value(client, "step_attempts_total", **action, step="event", outcome="completed") == 1
    assert value(client, "step_attempts_total", **action, step="venue", outcome="rejected") == 1
    assert value(client, "compensations_total", **of, step="event_details") == 1
    assert value(client, "step_duration_seconds_count", **of, step="event", direction="compensation") == 1


def test_requests_are_counted_by_route_and_never_by_path(client: FlaskClient) -> None:
    """A stranger's paths and methods make no series."""
    for number in range(3):
        client.get(f"/api/saga/status/nobody-{number}")
        client.open(f"/nothing/{number}", method=f"BREW{number}")
    found = [dict(labels) for name, labels in samples(client) if name == "saga_es_http_requests_total"]
    assert {(labels["method"], labels["route"], labels["status"]) for labels in found} >= {
        ("GET", "/api/saga/status/<string:transaction_id>", "404"),
        ("(none)", "(none)", "404"),
    }
    assert not [labels for labels in found if "nobody" in str(labels) or "BREW" in str(labels)]


def test_retries_signals_waits_and_open_sagas_are_told_apart(open_node: OpenNode) -> None:
    """A step that only waits is no attempt; a saga that waits is open."""
    saga = Saga("errand")
    tries: list[int] = []

    @saga.step(compensation=None)
    def call() -> int:
        tries.append(1)
        if len(tries) == 1:
            raise StepUnavailable("not now")
        return 1

    saga.wait_for("word", timeout_s=None)
    served = open_node(App(sagas=[saga]))
    handle = served.node.engine.start(saga, {})
    until(lambda: handle.status().steps[1].started_at)
    of = {"saga": "errand"}
    assert value(served.client, "open_sagas", **of, status="IN_PROGRESS") == 1
    handle.signal("word")
    handle.result(20)
    action = {**of, "step": "call", "direction": "action"}
    assert value(served.client, "step_attempts_total", **action, outcome="unavailable") == 1
    assert value(served.client, "step_attempts_total", **action, outcome="completed") == 1
    assert value(served.client, "step_retries_total", **action) == 1
    assert value(served.client, "signals_total", **of) == 1
    assert value(served.client, "sagas_ended_total", **of, status="COMPLETED") == 1
    steps = {dict(labels).get("step") for name, labels in samples(served.client) if name.startswith("saga_es_step_")}
    assert steps == {"call"}


def test_a_saga_that_another_process_started_is_counted_with_its_whole_duration(open_node: OpenNode) -> None:
    """The view says its definition and when it was started."""
    saga = Saga("relay")

    @saga.step(compensation=None)
    def run() -> None:
        raise StepRejected("no")

    saga_app = App(sagas=[saga])
    first = open_node(saga_app, sagas_at_once=1)
    second = open_node(saga_app)
    second.node.client.start("relay", {}, saga_id="a")
    first.node.engine.follow("a").result(20)
    second.node.engine.follow("a").result(20)
    ended = [
        value(served.client, "sagas_ended_total", saga="relay", status="COMPENSATED") or 0 for served in (first, second)
    ]
    assert sum(ended) == 1
    assert sum(value(served.client, "claims_total") or 0 for served in (first, second)) == 1
    assert sum(value(served.client, "sagas_started_total", saga="relay") or 0 for served in (first, second)) == 1


def test_openmetrics_has_exemplars_that_name_a_saga(client: FlaskClient) -> None:
    """From a slow bucket to the saga that was slow, and to its trace if it has one."""
    answer = client.post("/api/saga/execute", json=SHOW).json
    assert answer is not None
    page = client.get("/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"})
    assert page.headers["Content-Type"].startswith("application/openmetrics-text")
    assert f'# {{saga_id="{answer["transaction_id"]}"}}' in page.text
    assert page.text.endswith("# EOF\n")
    trace_id = "4bf92f3577b34da6a3ce929d0e0e4736"
    traced = client.post("/api/saga/execute", json=SHOW, headers={"traceparent": f"00-{trace_id}-00f067aa0ba902b7-01"})
    assert traced.json is not None
    page = client.get("/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"})
    assert f'# {{saga_id="{traced.json["transaction_id"]}",trace_id="{trace_id}"}}' in page.text


def test_an_application_without_metrics_says_what_to_install(open_node: OpenNode) -> None:
    """The setting turns them off; then nothing is counted."""
    served = open_node(metrics=False)
    answer = served.client.get("/metrics")
    assert answer.status_code == 501
    assert answer.json is not None
    assert "prometheus-client" in answer.json["detail"]


def test_the_views_of_services_are_in_the_lag(client: FlaskClient) -> None:
    """Each view of the application has its series."""
    assert RECORD_EVENTS
    found = {dict(labels)["view"] for name, labels in samples(client) if name == "saga_es_view_lag_events"}
    assert found == {
        "sagas",
        "saga_tags",
        "saga_keys",
        "saga_batches",
        "saga_figures",
        *(service.view.name for service in SERVICES),
    }


def test_an_inline_view_that_failed_is_behind_and_stands_still(open_node: OpenNode) -> None:
    """From the event that it lacks first."""
    served = open_node()
    served.client.post("/api/saga/execute", json=SHOW)
    with served.node.database.writing() as connection:
        checkpoints.mark_behind(connection, "sagas", checkpoints.Failed(1, "SagaStarted", "s-1", "no room"))
    assert value(served.client, "view_stands_still", view="sagas") == 1
    assert value(served.client, "view_stands_still", view="saga_tags") == 0
    position = value(served.client, "log_position")
    assert position is not None
    assert value(served.client, "view_lag_events", view="sagas") == position - 1 > 0
