"""The pages around the sagas: definitions, system, log, demo."""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree as ET

from saga_es import Saga
from saga_es.console.graph import columns, draw_graph
from saga_es.store import verdicts
from saga_es.store.views import checkpoints
from tests.api.conftest import OpenNode, Served
from tests.console.conftest import with_console
from tests.support.definitions import nothing
from tests.support.journeys_served import app_of, begun, journey, outing, stuck
from tests.support.pages import page_of, token_of
from tests.support.trips import until


def diamond() -> Saga:
    saga = Saga("diamond")
    for name, after in (("a", []), ("b", ["a"]), ("c", ["a"]), ("d", ["b", "c"])):

        def step() -> None:
            nothing()

        step.__name__ = name
        saga.step(compensation=None, after=after, kind="pivot" if name == "d" else "compensatable")(step)
    return saga


def test_a_graph_goes_from_left_to_right() -> None:
    """A step stands behind all that it waits for; what runs together stands in one column."""
    assert columns(diamond().plan) == {"a": 0, "b": 1, "c": 1, "d": 2}
    inner = journey()
    for saga in (diamond(), inner, outing(inner)):
        root = ET.fromstring(draw_graph(saga.plan, {}))  # noqa: S314 (made here)
        assert len([found for found in root.iter("rect") if found.attrib["class"].startswith("node")]) == len(
            saga.plan.steps
        )


def test_each_definition_has_a_page_with_its_numbers(served: Served) -> None:
    """The numbers lead to the sagas; a definition that there is not is a page that says so."""
    failed = stuck(served)
    page = page_of(served.client.get("/console/definitions"))
    assert {"journey", "outing"} <= {text.strip() for text in page.texts}
    (link,) = [
        found["href"]
        for found in page.all("a")
        if "status=FAILED&name=journey" in found["href"]
        or ("name=journey" in found["href"] and "status=FAILED" in found["href"])
    ]
    assert page_of(served.client.get(link)).saga_ids == [failed]
    assert "seat" in page_of(served.client.get("/console/definitions/journey")).text
    for name in ("nothing", "a%2Fb", "%00", "%F0%9F%8E%BB"):
        page_of(served.client.get(f"/console/definitions/{name}"), 404)


def test_a_definition_has_its_figures_and_whether_the_code_fits_what_is_in_flight(served: Served) -> None:
    """What the API says is on the page, once the view has followed the log; the span stands in the address."""
    failed, waiting = stuck(served), begun(served)
    assert failed != waiting

    def told(within: str = "day") -> dict[str, Any]:
        path = f"/api/saga/definitions?name=journey&within={within}"
        found: dict[str, Any] = served.client.get(path).get_json()["definitions"][0]
        return found

    def steps() -> dict[str, Any]:
        return {step["step"]: step for step in told("hour")["figures"]["steps"]}

    until(lambda: told()["figures"]["failed"] == 1 and steps()["seat"]["calls"] == 2)
    found = told("hour")
    assert (found["fits"], [version["sagas"] for version in found["in_flight"]]) == (True, [1])
    assert (found["figures"]["started"], steps()["seat"]["undo_failed"], steps()["letter"]["failed"]) == (2, 1, 1)
    page = page_of(served.client.get("/console/definitions/journey?within=hour"))
    assert page.labelled == ["Graph", "Versions in flight", "Steps", "Plan"]
    assert "0 · 1" in page.text
    assert page.all("a", href="/console/definitions/journey?within=week")
    assert page.all("a", **{"aria-current": "true"})[0]["href"].endswith("within=hour")


def test_a_version_whose_code_is_gone_is_named(open_node: OpenNode) -> None:
    """Its sagas may need a step that the running code has no more."""
    inner = journey()
    before = open_node(app_of(inner, outing(inner)))
    begun(before)
    served = with_console(open_node(app_of(shorter())))
    (found,) = served.client.get("/api/saga/definitions?name=journey").get_json()["definitions"]
    assert found["fits"] is False
    assert "letter" in " ".join(found["in_flight"][0]["missing"])
    assert "may lack code" in page_of(served.client.get("/console/definitions/journey")).text
    assert "may lack code" in page_of(served.client.get("/console/definitions")).text


def shorter() -> Saga:
    """The journey without its letter."""
    saga = Saga("journey")

    @saga.step(compensation=None)
    def seat() -> str:
        return "14C"

    saga.wait_for("approval", timeout_s=None)
    return saga


def test_the_system_page_has_workers_views_and_what_the_doctor_says(served: Served) -> None:
    """And whether this process can do its work, and the last hour; the API has the same."""
    until(served.node.store.workers.heartbeats)
    stuck(served)
    until(lambda: system_of(served)["last_hour"]["ended"] == 1)
    found = system_of(served)
    (worker,) = found["workers"]
    assert (worker["worker_id"], worker["is_alive"], worker["is_here"]) == (served.node.engine.worker_id, True, True)
    assert (worker["definitions"], worker["sagas_at_once"]) == (2, served.node.settings.sagas_at_once)
    views = {view["name"]: (view["kind"], view["trouble"]) for view in found["views"]}
    assert views["sagas"] == ("inline", None)
    assert views["saga_figures"] == ("asynchronous", None)
    assert found["verified"] is None
    page = page_of(served.client.get("/console/system"))
    assert "1 alive" in page.text
    assert served.node.engine.worker_id in page.text
    assert "never verified" in page.text
    assert page.labelled == ["Doctor", "Workers", "Views of the log", "Proof", "Readiness"]


def test_the_system_page_has_the_newest_verification(served: Served) -> None:
    """With the number of differences that it found."""
    verdicts.record(served.node.database, 3)
    assert system_of(served)["verified"]["differences"] == 3
    assert "It differs" in page_of(served.client.get("/console/system")).text


def system_of(served: Served) -> dict[str, Any]:
    found: dict[str, Any] = served.client.get("/api/saga/system").get_json()
    return found


def test_the_system_page_names_a_view_that_is_behind_and_why(served: Served) -> None:
    """With the event that it lacks first, and the cure."""
    with served.node.database.writing() as connection:
        checkpoints.mark_behind(connection, "sagas", checkpoints.Failed(7, "StepFailed", "s-1", "no room for <b>"))
    page = page_of(served.client.get("/console/system"))
    assert "'sagas' is behind since position 7, StepFailed of stream 's-1': no room for <b>; mend" in page.text


def test_the_log_page_has_the_newest_events_and_then_older_ones(served: Served) -> None:
    """Each event once, whoever wrote it."""
    for _ in range(40):
        begun(served)
    last = served.node.store.log.last_position()
    seen: list[str] = []
    path = "/console/log"
    while path:
        page = page_of(served.client.get(path))
        seen += [found["id"] for found in page.all("tr") if "id" in found]
        path = next((found["href"] for found in page.all("a", rel="prev")), "")
    positions = [entry.position for entry in served.node.store.log.entries()]
    assert sorted(seen) == sorted(f"p{position}" for position in positions)
    assert last > 100


def test_a_scenario_starts_its_saga_and_shows_it(demo: Served) -> None:
    """The demonstration's page; an application without scenarios has none in its sidebar."""
    page = page_of(demo.client.get("/console/demo"))
    titles = [found["value"] for found in page.all("button", name="scenario")]
    assert titles == ["All goes well", "event fails", "event_details fails", "venue fails", "ticket fails"]
    token = token_of(demo.client, "/console/sagas")
    answer = demo.client.post("/console/demo", data={"csrf": token, "scenario": "venue fails"})
    assert answer.status_code == 303
    saga_id = answer.location.rpartition("/")[2]
    until(lambda: demo.node.engine.status(saga_id).status == "COMPENSATED")
    assert "The saga is compensated" in page_of(demo.client.get(answer.location)).text
    page_of(demo.client.post("/console/demo", data={"csrf": token, "scenario": "x"}), 404)
    page_of(demo.client.post("/console/demo", data={"scenario": "venue fails"}), 403)


def test_an_application_without_scenarios_has_no_demo(served: Served) -> None:
    """Its page says so."""
    page = page_of(served.client.get("/console/demo"))
    assert "no scenarios" in page.text
    assert not page.all("a", href="/console/demo")
