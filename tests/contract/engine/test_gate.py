"""The gate before a deployment: recorded sagas are rehearsed with the new code, from a database or an export of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from saga_es import App, Saga
from saga_es.core.state import SagaStatus
from saga_es.definition.code import code_of
from saga_es.node.gate import check_bundle, check_database, to_be_checked
from saga_es.node.node import Node
from saga_es.node.settings import Settings
from saga_es.runtime.compatibility import Comparing, Verdict, ways_back
from saga_es.runtime.needed_code import CodeHere
from saga_es.runtime.rehearsal import Difference, Rehearsal
from saga_es.store.archive.exporting import export_all
from tests.support.trips import until

When = Callable[..., Any]
TIMEOUT_S = 20


def is_large(input: dict[str, Any]) -> bool:  # noqa: A002 (the name a condition asks for)
    return int(input["n"]) > 1


def is_paid(pay: int) -> bool:
    return pay > 0


def an_order(check: When = is_large, send: When | None = is_paid, *, also: When | None = None) -> Saga:
    """Check what is large, pay, wait, send what is paid, each under a condition; in a later version, `also` another."""
    order = Saga("order")
    order.step(compensation=None, when=check)(named("check"))
    order.step(compensation=None)(pay)
    order.wait_for("go", timeout_s=None)
    order.step(compensation=None, when=send)(named("send"))
    if also is not None:
        order.step(compensation=None, when=also)(named("also"))
    return order


def pay(input: dict[str, Any]) -> int:  # noqa: A002 (the name a step asks for)
    return int(input["n"])


def named(name: str) -> Callable[..., Any]:
    def step() -> str:
        return name

    step.__name__ = name
    return step


@pytest.fixture
def node(database_url: str) -> Iterator[Node]:
    """An order of 0, of 1 and of 2 are COMPLETED; one of 3 waits to be sent."""
    node = a_node(database_url)
    node.open()
    try:
        for n in range(4):
            node.engine.start("order", {"n": n}, saga_id=f"order-{n}")
        for n in range(3):
            node.engine.signal(f"order-{n}", "go")
            assert node.engine.follow(f"order-{n}").result(TIMEOUT_S).status is SagaStatus.COMPLETED
        until(lambda: waits(node))
        yield node
    finally:
        node.close()


def waits(node: Node) -> bool:
    state = node.store.sagas.find("order-3")
    return state is not None and state.step("go").wait is not None


def a_node(database_url: str) -> Node:
    app = App(name="shop", version="1", sagas=[an_order()])
    return Node(Settings.load({"database_url": database_url}, environ={}), app)


def differences(node: Node, code: Saga, most: int | None = None) -> list[Difference]:
    rehearsal = Rehearsal(CodeHere([code]))
    check_database(node, Comparing(code_of([code])), rehearsal, most)
    return rehearsal.differences


def told(found: list[Difference]) -> list[tuple[str, str, list[str]]]:
    return [(one.step, one.what, sorted(one.saga_ids)) for one in found]


def test_with_the_code_of_then_every_condition_decides_as_then(node: Node) -> None:
    """Of all sagas, finished or not."""
    rehearsal = Rehearsal(CodeHere([an_order()]))
    check_database(node, Comparing(code_of([an_order()])), rehearsal, None)
    assert (rehearsal.sagas, rehearsal.differences) == (4, [])


@pytest.mark.parametrize(
    ("changed", "found"),
    [
        (
            {"check": lambda input: input["n"] > 0},  # noqa: A006 (the name)
            [("check", "holds now, and the step was skipped", ["order-1"])],
        ),
        (
            {"check": lambda input: input["n"] > 2},  # noqa: A006 (the name)
            [("check", "does not hold now, and the step was done", ["order-2"])],
        ),
        (
            {"check": lambda input: input["m"] > 1},  # noqa: A006 (the name)
            [("check", "fails: KeyError: 'm'", ["order-0", "order-1", "order-2", "order-3"])],
        ),
        (
            {"send": lambda pay: pay > 1},
            [("send", "does not hold now, and the step was done", ["order-1"])],
        ),
    ],
)
def test_a_condition_that_decides_otherwise_than_the_log_or_fails_is_told(
    node: Node, changed: dict[str, Any], found: Any
) -> None:
    """With the sagas in which it does."""
    assert told(differences(node, an_order(**changed))) == found


def test_a_condition_of_a_new_step_is_tried_with_what_real_sagas_know(node: Node) -> None:
    """An exception is told. Sagas that do not know what it asks for are left out, and no decision is compared."""
    assert told(differences(node, an_order(also=lambda pay: pay > 1))) == []
    assert told(differences(node, an_order(also=lambda send: send["id"]))) == [
        ("also", "fails: TypeError: string indices must be integers, not 'str'", ["order-1", "order-2"]),
        ("also", "fails: TypeError: 'NoneType' object is not subscriptable", ["order-0"]),
    ]


def test_a_sample_is_of_the_newest_sagas_of_each_definition(node: Node) -> None:
    """As many as were asked for."""
    ((_, _, saga_ids),) = told(differences(node, an_order(check=lambda input: input["m"]), most=2))  # noqa: A006
    assert saga_ids == ["order-2", "order-3"]


def test_an_export_tells_what_its_database_tells(node: Node, tmp_path: Path) -> None:
    """Without one: which sagas go on, which are stranded, and what the rehearsal finds."""
    file = tmp_path / "shop.ndjson"
    with file.open("wb") as out:
        export_all(node.store.sagas, to_be_checked(node, None), out, datetime.now(UTC))
    elsewhere = a_node(f"sqlite:///{tmp_path / 'not there.sqlite'}")
    code = Saga("order")
    code.step(compensation=None, when=lambda input: input["m"])(named("check"))  # noqa: A006 (the name)
    results = []
    for is_bundle in (False, True):
        rehearsal, comparing = Rehearsal(CodeHere([code])), Comparing(code_of([code]))
        if is_bundle:
            compared = check_bundle(elsewhere, file, comparing, rehearsal, None)
        else:
            compared = check_database(node, comparing, rehearsal, None)
        results.append((compared, [(*one[:2], len(one[2])) for one in told(rehearsal.differences)], rehearsal.sagas))
    assert results[0] == results[1]
    (version,) = results[0][0].versions
    assert [(group.verdict, group.saga_ids) for group in version.groups] == [(Verdict.STRANDED, ["order-3"])]
    assert results[0][1:] == ([("check", "fails: KeyError: 'm'", 4)], 4)


def test_a_rollback_is_told_to_strand_what_it_lacks_code_for() -> None:
    """Both ways: what was added is missing after it; what was removed is not."""
    old, new = an_order(), an_order(also=is_paid)
    (back,) = ways_back([new], [code_of([old])])
    assert back.missing == ("the code of step 'also' is gone: saga 'order' has no action for it",)
    (forth,) = ways_back([old], [code_of([new])])
    assert forth.missing == ()
    assert len(ways_back([new], [code_of([old]), code_of([old])])) == 1
