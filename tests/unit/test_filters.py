"""Filters as people write them."""

from __future__ import annotations

import pytest

from saga_es.store.queries.filters import age_s, tag_of


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("0", 0), ("90", 90), ("90s", 90), ("1.5", 1.5), ("10m", 600), ("2h", 7200), ("3d", 259_200), ("0.5h", 1800)],
)
def test_an_age_is_a_number_and_a_unit(text: str, seconds: float) -> None:
    """Seconds, where no unit is written."""
    assert age_s(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "m", "-1", "-1h", "1y", "1 week", "nan", "inf", "1e300", "nanh", "37000d", "\0", "h1"]
)
def test_what_is_no_age_says_how_to_write_one(text: str) -> None:
    """Nor is one of more than a century."""
    with pytest.raises(ValueError, match="write seconds, or 10m, 2h, 3d"):
        age_s(text)


@pytest.mark.parametrize(
    ("text", "tag"),
    [
        ("a:b", ("a", "b")),
        ("a:", ("a", "")),
        ("a:b:c", ("a", "b:c")),
        ("a b: c ", ("a b", " c ")),
        ("é:🎻", ("é", "🎻")),
    ],
)
def test_a_tag_is_a_name_a_colon_and_a_value(text: str, tag: tuple[str, str]) -> None:
    """The first colon parts them; nothing is trimmed."""
    assert tag_of(text) == tag


@pytest.mark.parametrize("text", ["", "a", ":", ":b", "=x"])
def test_what_is_no_tag_says_how_to_write_one(text: str) -> None:
    """A tag has a name, and a colon after it."""
    with pytest.raises(ValueError, match="write NAME:VALUE"):
        tag_of(text)
