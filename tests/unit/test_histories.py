"""What each released schema wrote is read for ever, and tells today what it told then."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path
from typing import get_args

import msgspec
import pytest

from saga_es.core import events as e
from saga_es.core.upcasters import UPCASTERS, present_schema
from saga_es.store.archive.bundle import streams_in
from saga_es.store.log.codec import PLAN, SAGA
from services import app
from tests.histories.golden import HISTORIES, decoded, is_still_told, stories_then, stories_today

NEVER_EDITED = {
    "schema-1-migrated.ndjson": "080642c35134aa5ddb97d9e05d6f2b8de182c2eb3ac6053a0fe2601a5fee9a3c",
    "schema-1-migrated.stories.json": "7f8f9be86c15f951ca97a0e55572561fa31e8e9f008296191139c7e0f5e0bec6",
    "schema-1-progressed.ndjson": "7b51a2ada1e0f76ff7de91f9dc1ad42eb8602aa4fa2be2fa760c2461ea6b3a0c",
    "schema-1-progressed.stories.json": "a41336892155dc3d49e4d8bc360021a030977581d08c378c9509deb5262f9f5e",
    "schema-1-released.ndjson": "a21f169f801c8ff283c63be540a8d4612ce908ce1ecd92f595a68283870f1cfc",
    "schema-1-released.stories.json": "b5e1fef55fef9273f1b76af0e14d1a8dae4b64e93d2157bd69859491ee9bf8e5",
    "schema-1.ndjson": "3444b6ebbf03cb3fb6ab9f0ed62597d84cb4e7ab043efc95e073935aca884c3d",
    "schema-1.stories.json": "a11f4ad90e4b086814e1140ce25d50ee97d55e0a3e38c9123f09cb2e1f6667fc",
}


@pytest.mark.parametrize("history", HISTORIES, ids=lambda path: path.stem)
def test_a_recorded_history_tells_what_it_told_when_it_was_recorded(history: Path) -> None:
    """Every saga of it, every word; words that are new may stand beside."""
    today, then = msgspec.to_builtins(stories_today(history)), stories_then(history)
    assert then.keys() == today.keys()
    for saga_id, told in then.items():
        assert is_still_told(told, today[saga_id]), saga_id


def test_the_histories_of_the_present_schema_have_every_event_that_there_is() -> None:
    """Of sagas, and of the services' records too; an event that is new has a history of its own beside the first."""
    present = f"schema-{present_schema(SAGA, UPCASTERS)}"
    streams = [of for history in HISTORIES if history.stem.startswith(present) for of in decoded(history).values()]
    found = {(of[0].category, type(recorded.event)) for of in streams for recorded in of}
    ours = {(SAGA, kind) for kind in get_args(e.SagaEvent)} | {(PLAN, e.PlanRecorded)}
    theirs = {(category, kind) for category, kinds in app.events.items() for kind in kinds}
    assert ours <= found, "record it with `python -m tests.histories.record --name -WHAT`"
    assert {category for category, _ in theirs} <= {category for category, _ in found}


def test_recorded_histories_are_never_edited() -> None:
    """A history that was changed proves nothing."""
    files = [file for history in HISTORIES for file in (history, history.with_suffix(".stories.json"))]
    assert {file.name: sha256(file.read_bytes()).hexdigest() for file in files} == NEVER_EDITED


def test_the_present_schema_has_a_history() -> None:
    """Who raises the schema records one: `python -m tests.histories.record`."""
    assert f"schema-{present_schema(SAGA, UPCASTERS)}" in {history.stem for history in HISTORIES}
    schemas = {entry.schema for history in HISTORIES for stream in streams_in(history) for entry in stream}
    assert present_schema(SAGA, UPCASTERS) in schemas


def test_what_is_told_no_more_is_noticed() -> None:
    """Lists must be as long; a word that is gone, and one that has changed, are both found."""
    then = {"a": 1, "b": [{"c": 2}]}
    assert is_still_told(then, {"a": 1, "b": [{"c": 2, "new": 3}], "new": 4})
    assert not is_still_told(then, {"a": 1, "b": [{"c": 3}]})
    assert not is_still_told(then, {"a": 1, "b": [{"d": 2}]})
    assert not is_still_told(then, {"a": 1, "b": [{"c": 2}, {"c": 2}]})
    assert not is_still_told(then, {"b": [{"c": 2}]})
