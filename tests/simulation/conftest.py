"""What tests of simulated sagas leave as it was."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import structlog


@pytest.fixture(autouse=True)
def _as_loud_as_before() -> Iterator[None]:
    """Here logs are silenced; a test that reads them may come next in this process."""
    before = structlog.get_config()
    yield
    structlog.configure(**before)
