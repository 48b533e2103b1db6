"""The pytest plugin: the fixture `saga_lab`, in every test where saga_es is installed.

pytest loads this file by its entry point, in every project that has saga_es installed; so it brings in nothing before
a test asks for it. saga_es does not depend on pytest: whoever loads this has it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from saga_es.testing.lab import Lab


@pytest.fixture
def saga_lab() -> type[Lab]:
    """Where sagas are tried: make one of a definition and an input, and have it killed at every event."""
    from saga_es.testing.lab import Lab  # noqa: PLC0415 (tests that do not ask for it need not wait for it)

    return Lab
