"""The pytest plugin: the fixture `saga_lab`, in every test where saga_es is installed.

pytest loads this module through its entry point, in every project that has saga_es installed. So it imports nothing
else before a test asks for it. saga_es does not depend on pytest: pytest is installed where this module is loaded.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from saga_es.testing.lab import Lab


@pytest.fixture
def saga_lab() -> type[Lab]:
    """The class `Lab`: make one from a definition and an input, and have the saga killed at every event."""
    from saga_es.testing.lab import Lab  # noqa: PLC0415 (tests that do not ask for it need not wait for it)

    return Lab
