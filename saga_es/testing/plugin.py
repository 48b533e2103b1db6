"""The pytest plugin: the fixture `saga_lab`, in every test where saga_es is installed."""

from __future__ import annotations

import pytest

from saga_es.testing.lab import Lab


@pytest.fixture
def saga_lab() -> type[Lab]:
    """Where sagas are tried: make one of a definition and an input, and have it killed at every event."""
    return Lab
