"""How often Python looks for garbage, where nobody has chosen."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest

from saga_es.node.gc import OBJECTS, look_less_often


@pytest.fixture(autouse=True)
def as_it_was() -> Iterator[None]:
    """The threshold of the process stays."""
    before = gc.get_threshold()
    yield
    gc.set_threshold(*before)


@pytest.mark.parametrize("pythons_own", [(700, 10, 10), (2000, 10, 0)])
def test_garbage_waits_until_there_is_some(pythons_own: tuple[int, int, int]) -> None:
    """The rarer looks stay in proportion."""
    gc.set_threshold(*pythons_own)
    look_less_often()
    assert gc.get_threshold() == (OBJECTS, *pythons_own[1:])


@pytest.mark.parametrize("chosen", [(0, 10, 10), (5000, 10, 10)])
def test_who_has_chosen_is_left_alone(chosen: tuple[int, int, int]) -> None:
    """Also who has chosen that nobody looks at all."""
    gc.set_threshold(*chosen)
    look_less_often()
    assert gc.get_threshold() == chosen
