"""What the contract of the ports is checked on: each kind of store, in turn."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.any_store import ALL_KINDS, AnyStore, a_store


@pytest.fixture(params=ALL_KINDS)
def any_store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[AnyStore]:
    """An empty store: on each database, and the simulator's."""
    with a_store(request.param, tmp_path) as store:
        yield store
