"""What the contract of the ports is checked on: each kind of store, in turn."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from saga_es.store.views.kinds import View, Views
from saga_es.store.writer import Writer
from tests.conftest import NOTE, Store
from tests.support.any_store import ALL_KINDS, AnyStore, a_store
from tests.support.cards import card, cards
from tests.support.shelves import fill


@pytest.fixture(params=ALL_KINDS)
def any_store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[AnyStore]:
    """An empty store: on each database, and the simulator's."""
    with a_store(request.param, tmp_path) as store:
        yield store


@pytest.fixture
def card_writer(store: Store) -> Writer:
    """A writer with a view whose columns are narrow."""
    views = Views([View(cards, NOTE, card)])
    store.make(*views)
    return Writer(store.database, store.log, views)


@pytest.fixture
def shelf(store: Store) -> Store:
    """A log with sagas in all states and families."""
    fill(store)
    return store
