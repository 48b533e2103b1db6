"""What tests of simulated sagas leave as it was."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from saga_es.logs import NAME


@pytest.fixture(autouse=True)
def _as_loud_as_before() -> Iterator[None]:
    """Here logs are silenced; a test that reads them may come next in this process."""
    logger = logging.getLogger(NAME)
    before = logger.level
    yield
    logger.setLevel(before)
