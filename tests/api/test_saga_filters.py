"""The filters of `GET /api/saga/list`, as a client writes them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from saga_es import Saga, StepRejected
from saga_es.commands import Pause
from tests.api.conftest import Served, opened
from tests.api.test_execute import body_of
from tests.support.journeys_served import app_of

Query = Sequence[tuple[str, str]]


def an_order() -> Saga:
    order = Saga("order")

    @order.step(compensation=None)
    def pay(input: dict[str, Any]) -> None:  # noqa: A002 (the name by which a step asks for it)
        if "refuse" in input:
            raise StepRejected(input["refuse"])

    return order


@dataclass(frozen=True)
class Shelf:
    """Some sagas, by what they are called here."""

    served: Served
    ids: dict[str, str]

    def found(self, *query: tuple[str, str]) -> set[str]:
        """Whom a filter lets through."""
        body = body_of(self.served.client.get(f"/api/saga/list?{urlencode(query)}"), 200)
        names = {saga_id: name for name, saga_id in self.ids.items()}
        return {names[saga["transaction_id"]] for saga in body["transactions"]}

    def refused(self, *query: tuple[str, str]) -> dict[str, list[str]]:
        """What is said of a filter that is none."""
        errors: dict[str, list[str]] = body_of(self.served.client.get(f"/api/saga/list?{urlencode(query)}"), 422)[
            "errors"
        ]
        return errors


@pytest.fixture(scope="module")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shelf]:
    """The tests of this module only read."""
    url = f"sqlite:///{tmp_path_factory.mktemp('shelf') / Path('saga.sqlite')}"
    with ExitStack() as stack:
        order, parent, waiting = an_order(), Saga("parent"), Saga("waiting")
        parent.child("order", order)
        waiting.wait_for("approval", timeout_s=None)
        served = opened(stack, url, app_of(order, parent, waiting))
        engine = served.node.engine
        started = {
            "done": engine.start(order, tags={"customer": "7", "shop": "a:b"}),
            "refused": engine.start(order, {"refuse": "100% sold out"}, tags={"customer": "7", "empty": ""}),
            "parent": engine.start(parent),
        }
        ids = {name: handle.result(10).saga_id for name, handle in started.items()}
        ids["paused"] = engine.start(waiting, tags={"customer": "8"}).saga_id
        engine.submit(ids["paused"], Pause("ada", "lunch"))
        (child,) = body_of(served.client.get(f"/api/saga/list?parent={ids['parent']}"), 200)["transactions"]
        yield Shelf(served, {**ids, "child": child["transaction_id"]})


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ([("tag", "customer:7")], {"done", "refused"}),
        ([("tag", "customer:7"), ("tag", "shop:a:b")], {"done"}),
        ([("tag", "empty:")], {"refused"}),
        ([("tag", "customer:7"), ("tag", "customer:8")], set()),
        ([("tag", "customer:7"), ("status", "COMPENSATED")], {"refused"}),
        ([("error", "SOLD OUT")], {"refused"}),
        ([("error", "100% sold")], {"refused"}),
        ([("error", "100%out")], set()),
        ([("paused", "true")], {"paused"}),
        ([("paused", "false"), ("name", "waiting")], set()),
        ([("name", "parent")], {"parent"}),
        ([("newer_than", "3600"), ("tag", "customer:8")], {"paused"}),
        ([("older_than", "3600")], set()),
        ([("older_than", "0"), ("name", "order"), ("status", "COMPLETED")], {"done", "child"}),
    ],
)
def test_a_filter_lets_through_what_it_says(shelf: Shelf, query: Query, found: set[str]) -> None:
    """Alone, and with others: all must hold."""
    assert shelf.found(*query) == found


def test_the_sagas_that_a_saga_runs_are_found_by_it(shelf: Shelf) -> None:
    """And a summary says whose step it is."""
    assert shelf.found(("parent", shelf.ids["parent"])) == {"child"}
    body = body_of(shelf.served.client.get(f"/api/saga/list?parent={shelf.ids['parent']}"), 200)
    assert [(saga["parent"], saga["paused"]) for saga in body["transactions"]] == [(shelf.ids["parent"], False)]


def test_pages_of_a_filter_go_on_where_the_one_before_ended(shelf: Shelf) -> None:
    """The cursor knows nothing of the filter: it is given with each page."""
    get = shelf.served.client.get
    first = body_of(get("/api/saga/list?tag=customer:7&limit=1"), 200)
    rest = body_of(get(f"/api/saga/list?tag=customer:7&limit=1&cursor={first['next_cursor']}"), 200)
    walked = [saga["transaction_id"] for saga in first["transactions"] + rest["transactions"]]
    assert walked == [shelf.ids["refused"], shelf.ids["done"]]
    assert rest["next_cursor"] is None


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("tag", "customer"),
        ("tag", ""),
        ("tag", ":7"),
        ("older_than", "soon"),
        ("older_than", "-1"),
        ("older_than", "nan"),
        ("older_than", "inf"),
        ("newer_than", "1e300"),
        ("newer_than", ""),
        ("paused", "maybe"),
    ],
)
def test_a_filter_that_is_none_is_a_422_that_names_it(shelf: Shelf, field: str, value: str) -> None:
    """Alone, and beside a good one."""
    assert list(shelf.refused((field, value))) == [field]
    assert list(shelf.refused(("tag", "customer:7"), (field, value))) == [field]


@pytest.mark.parametrize("field", ["name", "error", "parent", "tag", "cursor"])
def test_a_filter_longer_than_what_it_looks_for_is_refused(shelf: Shelf, field: str) -> None:
    """A hundred thousand characters are no question for a database, which would give up and seem to be away."""
    longest = "t:" + "x" * 263
    assert list(shelf.refused((field, longest + "x" * 100_000))) == [field]
    if field != "cursor":
        assert list(shelf.refused((field, longest + "x"))) == [field]
        assert shelf.found((field, longest)) == set()


def test_more_tags_than_a_saga_can_have_are_refused(shelf: Shelf) -> None:
    """Twenty are looked for."""
    many = [("tag", f"t{number}:x") for number in range(21)]
    assert shelf.found(*many[:20]) == set()
    assert list(shelf.refused(*many)) == ["tag"]


def test_the_document_says_what_a_filter_costs(shelf: Shelf) -> None:
    """Whoever filters reads that a page may be short, and where to go on."""
    document = body_of(shelf.served.client.get("/openapi.json"), 200)
    operation = document["paths"]["/api/saga/list"]["get"]
    parameters = {about["name"]: about for about in operation["parameters"]}
    assert "next_cursor" in operation["description"]
    assert parameters["tag"]["schema"]["type"] == "array"
